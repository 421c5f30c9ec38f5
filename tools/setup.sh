# Sourced by ./check and ./demo: makes .venv from pyproject.toml, on a machine that has nothing of ours.
# Sets nothing up twice: a stamp in .venv holds the digest of pyproject.toml.
# Needs: Debian 12 or later with Python 3.11 or later, and root or python3-venv for the first run.

export PYTHONUNBUFFERED=1
unset PYTHONDONTWRITEBYTECODE  # as installed software runs: compiled once
export PATH="$PWD/.venv/bin:$PATH"  # the tools of the tests, sops among them

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ -z "${2:-}" ] || printf '       %s\n' "$2" >&2; exit 1; }

is_root() { [ "$(id -u)" = 0 ]; }

apt_install() {
    is_root || fail "the Debian packages $* are missing" "sudo apt-get install $*"
    # Another apt may be running on a machine that has just started: wait for it, not for ever.
    apt-get -qq -o DPkg::Lock::Timeout=120 update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" >/dev/null
}

setup_venv() {
    command -v python3 >/dev/null || apt_install python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed, this is $(python3 --version)" "Debian 12 and later have it"
    command -v git >/dev/null || apt_install git
    local stamp
    stamp=$(sha256sum < pyproject.toml)
    if [ -x .venv/bin/pvc ] && [ "$(cat .venv/stamp 2>/dev/null)" = "$stamp" ]; then return; fi
    if [ ! -x .venv/bin/python ]; then
        python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
        python3 -m venv .venv
    fi
    .venv/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[dev]'
    printf '%s' "$stamp" > .venv/stamp
}
