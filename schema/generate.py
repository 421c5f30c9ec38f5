"""Write schema/*.json from the tables in pvc_gitops/spec/source. Run it after editing them."""  # noqa: INP001

from __future__ import annotations

from pathlib import Path

from pvc_gitops.spec.schema_files import schema_files


def main() -> None:
    """Write every file that differs, and say so."""
    folder = Path(__file__).parent
    for name, text in schema_files().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote schema/{name}")


if __name__ == "__main__":
    main()
