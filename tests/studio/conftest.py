"""One studio for the tests of a process."""

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the studio needs its extra: pip install 'got-r1[studio]'")

from got_r1.studio.guard import Guard
from got_r1.studio.model import Model
from small_runs import make_recipe, model_folder
from studio.serving import Served, make_model, serve

__all__ = ["make_recipe", "model_folder"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("studio") / "history")


@pytest.fixture(scope="session")
def studio(model: Model) -> Iterator[Served]:
    yield from serve(model, Guard("127.0.0.1"))
