# The front door; bare `just` lists the recipes.

_default:
    @just --list

# Everything that must hold: format, lint, types, imports, tests
check *words:
    scripts/test {{words}}

# Tests only, e.g. `just test tests/unit/wire`
test *words:
    .venv/bin/python -m pytest {{words}}

# Convert two films on a service of its own
demo *flags:
    scripts/demo {{flags}}

# Write the generated pages under docs/
docs:
    .venv/bin/python scripts/support.py
    .venv/bin/python scripts/settings_page.py
