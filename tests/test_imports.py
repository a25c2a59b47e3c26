"""Who may import whom (shared/design.md, section 3), and other rules of the house that a machine can see."""

import ast
import graphlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from vaebench import layout
from vaebench.config.paths import conf_dir

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vaebench"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
LONGEST = 250  # lines of a file

MAY_IMPORT = {  # the longest name that fits a module is its row; an entry includes what is below it
    "": "",
    "errors": "",
    "ranges": "",
    "atomic": "errors",
    "seeding": "",
    "distributions": "",
    "terms": "distributions",
    "text": "",
    "model": "data.spec distributions terms text",
    "lock": "errors",
    "layout": "",
    "parts": "distributions terms",
    "part_checks": "errors parts",
    "data.spec": "errors",
    "data": "data seeding atomic ranges errors text",
    "networks": "networks part_checks ranges errors text",
    "priors": "distributions ranges",
    "likelihoods": "likelihoods distributions ranges text",
    "posteriors": "posteriors distributions errors networks parts ranges",
    "models": "models model errors networks part_checks parts priors posteriors likelihoods terms "
    "distributions data.spec ranges text",
    "objectives": "objectives errors model parts distributions terms ranges",
    "evaluation": "evaluation layout model parts terms distributions data.spec data.batches seeding atomic "
    "ranges text",
    "config": "config atomic errors layout ranges",
    "runner": "runner config data layout models model part_checks parts objectives evaluation terms "
    "distributions seeding atomic ranges errors lock text",
    "reporting": "reporting config atomic errors layout lock",
    "report": "reporting atomic errors",
    "reproduce": "reporting errors",
    "testing": "layout data.spec distributions evaluation model models likelihoods networks parts posteriors "
    "priors seeding",
    "train": "config runner errors",
    "__main__": "train",
    "status": "reporting",
}


def imports(source: str, module: str, for_type_checker: bool = False) -> Iterator[str]:
    """Yield each module of vaebench that `source` imports when it runs, without the leading `vaebench.`.

    `for_type_checker` includes the imports under `if TYPE_CHECKING`.
    """
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types and not for_type_checker:
            continue
        if isinstance(node, ast.Import):
            yield from (ours for alias in node.names if (ours := below(alias.name)) is not None)
        elif isinstance(node, ast.ImportFrom):
            home = f"vaebench.{module}".split(".")[: -node.level] if node.level else []
            base = ".".join([*home, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                ours = below(full if is_module(full) else base)
                if ours is not None:
                    yield ours


def below(name: str) -> str | None:
    first, _, rest = name.partition(".")
    return rest if first == "vaebench" else None


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def forbidden(source: str, module: str) -> list[str]:
    """Return the imports of `module` that are not in the table."""
    row = max((key for key in MAY_IMPORT if fits(module, key)), key=len)
    allowed = MAY_IMPORT[row].split()
    if not row and module:
        return [f"{module} has no row in the table"]
    return [
        f"{module} -> {target or 'vaebench'}"
        for target in imports(source, module)
        if not any(fits(target, entry) for entry in allowed)
    ]


def fits(module: str, entry: str) -> bool:
    return not entry or module == entry or module.startswith(f"{entry}.")


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").rstrip(".")


def test_imports_go_one_way() -> None:
    assert [arrow for path in FILES for arrow in forbidden(path.read_text(), module_of(path))] == []


def circle(sources: dict[str, str]) -> list[str]:
    """Return one import circle of the modules, imports for the type checker included; empty without one."""
    graph = {
        module: {target for target in imports(source, module, for_type_checker=True) if target in sources}
        for module, source in sources.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))  # graphlib lists the imported module before its importer
    return []


@pytest.mark.slow
def test_modules_do_not_import_each_other_in_a_circle() -> None:
    sources = {module_of(path): path.read_text() for path in FILES if path.stem != "__init__"}
    found = circle(sources)
    assert not found, f"import circle: {' -> '.join(found)}"


def test_an_import_circle_is_named() -> None:
    sources = {
        "model": "if TYPE_CHECKING:\n    from vaebench.terms import Terms",
        "terms": "from vaebench import text",
        "text": "def f():\n    from .model import Model",
        "lock": "import vaebench.model",
    }
    found = circle(sources)
    assert found[0] == found[-1]
    assert set(itertools.pairwise(found)) == {("model", "terms"), ("terms", "text"), ("text", "model")}
    assert circle(sources | {"text": ""}) == []


def bodies(source: str) -> Iterator[tuple[str, str]]:
    """Yield name and body, without the docstring, of each function of more than three statements."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if sum(isinstance(inner, ast.stmt) for outer in body for inner in ast.walk(outer)) > 3:
                yield node.name, "".join(ast.dump(statement) for statement in body)


def copies(sources: dict[str, str]) -> list[list[str]]:
    """Return the groups of functions that have the same body."""
    places: dict[str, list[str]] = {}
    for module, source in sources.items():
        for name, body in bodies(source):
            places.setdefault(body, []).append(f"{module}.{name}")
    return [names for names in places.values() if len(names) > 1]


def test_no_two_functions_have_the_same_body() -> None:
    assert copies({module_of(path): path.read_text() for path in FILES}) == []


def test_a_copied_function_is_found() -> None:
    body = "    a = x\n    if a:\n        a = 2 * a\n    return a\n"
    sources = {"one": f'def f(x):\n    """Return it."""\n{body}', "two": f"class A:\n  def g(x):\n{body}"}
    assert copies(sources) == [["one.f", "two.g"]]
    assert copies({"one": "def f(x):\n    return x\n\ndef g(x):\n    return x\n"}) == []


@pytest.mark.parametrize(
    ("module", "line", "arrow"),
    [
        ("objectives.elbo", "from vaebench.networks.mlp import MLPEncoder", "networks.mlp"),
        ("objectives.elbo", "def f():\n    import vaebench.networks.mlp", "networks.mlp"),
        ("objectives.elbo", "from ..networks import mlp", "networks.mlp"),
        ("evaluation.likelihood.nll", "from vaebench import models", "models"),
        ("evaluation.likelihood.nll", "if x:\n    from vaebench.data import mnist", "data.mnist"),
        ("terms", "from vaebench.seeding import derive_seed", "seeding"),
        ("config.check", "import numpy, vaebench.runner.loop as loop", "runner.loop"),
        ("reporting.collect", "from vaebench.runner.results_files import Results", "runner.results_files"),
        ("runner.loop", "from vaebench.reporting import runs", "reporting.runs"),
        ("data.spec", "from .batches import in_order", "data.batches"),
        ("model", "from vaebench.models.latent import LatentModel", "models.latent"),
    ],
)
def test_an_arrow_that_goes_up_is_seen(module: str, line: str, arrow: str) -> None:
    assert forbidden(line, module) == [f"{module} -> {arrow}"]


def test_imports_for_the_type_checker_are_free_and_unknown_modules_are_not() -> None:
    guarded = (
        "if TYPE_CHECKING:\n    from vaebench.networks import mlp\nelse:\n    import vaebench.data.mnist"
    )
    assert forbidden(guarded, "objectives.elbo") == ["objectives.elbo -> data.mnist"]
    assert forbidden("", "newcomer") == ["newcomer has no row in the table"]


@pytest.mark.slow
def test_reports_are_made_without_torch() -> None:
    modules = ["vaebench.status", "vaebench.report", "vaebench.reproduce"]
    modules += [*(f"vaebench.{module_of(path)}" for path in PACKAGE.glob("reporting/*.py"))]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def classes_in(*folders: str) -> set[str]:
    files = [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")] + [PACKAGE / "model.py"]
    trees = (ast.parse(path.read_text()) for path in files)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("folder", ["runner", "evaluation"])
def test_nobody_asks_for_the_class_of_a_model_a_prior_or_an_objective(folder: str) -> None:
    parts = classes_in("models", "priors", "posteriors", "likelihoods", "networks", "objectives")
    assert {"LatentModel", "StandardPrior", "Objective", "ELBO", "Model"} <= parts
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                asked = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                asked |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
                assert not asked & parts, f"{path.name}, line {node.lineno}: {ast.unparse(node)}"


def test_the_loop_knows_no_dataset_no_objective_and_no_evaluator_by_name() -> None:
    nodes = list(ast.walk(ast.parse((PACKAGE / "runner/loop.py").read_text())))
    words = {node.id for node in nodes if isinstance(node, ast.Name)}
    words |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    words |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    conf = Path(conf_dir())
    options = {
        path.stem for group in ("dataset", "model/objective") for path in (conf / group).glob("*.yaml")
    }
    suites = [yaml.safe_load(path.read_text()) or {} for path in (conf / "evaluation").glob("*.yaml")]
    names = options | {name for suite in suites for name in suite if name != "defaults"}
    names |= classes_in("objectives", "data", "evaluation") - {"Model", "Objective", "Batches"}
    names -= {"elbo", "active_units"}  # which are also numbers of the validation pass
    assert {"digits", "nll", "svm_probe", "ELBO", "EvidenceLowerBound"} <= names
    assert not words & names


def test_names_of_a_run_directory_stand_in_one_file() -> None:
    literals = {value for name, value in vars(layout).items() if name.isupper() and "." in str(value)}
    literals = {value for value in literals if isinstance(value, str)}
    assert {"results.json", "config.yaml", "lock.json"} <= literals
    for path in [*FILES, *(ROOT / "scripts").rglob("*.py")]:
        nodes = ast.walk(ast.parse(path.read_text()))
        constants = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        assert path.name == "layout.py" or not constants & literals, path


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert len(lengths) > 150
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_public_classes_say_what_they_are() -> None:
    nodes = [(path, node) for path in FILES for node in ast.parse(path.read_text()).body]
    classes = [(path, node) for path, node in nodes if isinstance(node, ast.ClassDef)]
    public = [(path, node) for path, node in classes if not node.name.startswith("_")]
    assert len(public) > 100
    assert [f"{path.name}: {node.name}" for path, node in public if not ast.get_docstring(node)] == []
