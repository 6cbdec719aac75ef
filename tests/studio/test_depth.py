"""The page Draw with a model whose boxes carry depths (`got-r1 studio --marks`)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from got_r1.icons.data import triples
from got_r1.sampling.checks import Checks
from got_r1.studio.guard import Guard
from got_r1.studio.history import History
from got_r1.studio.model import Model
from studio.serving import Served, events, serve

PROMPT = "a red heart in front of a blue star"
CHAIN = (
    "A <|obj_start|>red heart<|obj_end|> <|box_start|>(100,100),(500,500),z0<|box_end|> behind "
    "a <|obj_start|>blue star<|obj_end|> <|box_start|>(300,300),(700,700),z1<|box_end|>."
)


@pytest.fixture(scope="module")
def studio(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    marked = replace(
        model,
        rollout=model.rollout.model_copy(update={"marks": True}),
        checks=Checks(world=True, marks=True),
        history=History(tmp_path_factory.mktemp("depth") / "history"),
        options=("--marks",),
    )
    yield from serve(marked, Guard("127.0.0.1"))


def test_a_chain_with_depths_is_read_and_its_relation_said(studio: Served) -> None:
    view = studio.page.post("/api/text", json={"prompt": PROMPT, "chain": CHAIN}).json()
    assert view["problems"] == []
    assert [one["depth"] for one in view["objects"]] == [0, 1]
    assert view["pairs"][0]["relations"] == ["behind"]
    assert len(view["faults"]) == 1  # the order alone: boxes in depth may overlap
    assert "in front of" in view["faults"][0]


def test_boxes_keep_their_depths_when_a_person_moves_them(studio: Served) -> None:
    view = studio.page.post("/api/text", json={"prompt": PROMPT, "chain": CHAIN}).json()
    moved = [view["objects"][0], view["objects"][1] | {"box": [250, 250, 650, 650]}]
    body = {"prompt": PROMPT, "prose": view["prose"], "objects": moved}
    assert studio.page.post("/api/boxes", json=body).json()["objects"] == moved


def test_mending_exchanges_the_depths(studio: Served) -> None:
    done = studio.page.post("/api/mend", json={"prompt": PROMPT, "chain": CHAIN}).json()
    assert done["repaired"], done["reason"]
    assert [one["depth"] for one in done["objects"]] == [1, 0]
    assert done["faults"] == []


def test_what_it_draws_is_kept_and_opened_with_its_depths(studio: Served) -> None:
    (made,) = triples(1, seed=5, depth=1.0)
    asked = {"prompt": made.prompt.text, "chain": made.chain}
    done = events(studio, "/api/draw", asked)[-1]
    assert done["not_understood"] == []
    assert "--marks" in done["command"]
    picture = studio.page.get(f"/history/{done['entry']}/0.png").content
    opened = studio.page.post("/api/open", content=picture).json()
    assert opened["chain"] == made.chain
    assert [one["depth"] for one in opened["objects"]] == [
        icon.box.depth for icon in made.scene.icons
    ]


def test_a_model_without_depths_says_what_it_does_not_know(model: Model) -> None:
    assert model.words(PROMPT)["not_understood"] == [
        '"in front of" is no relation of the icon world'
    ]
    assert model.view(PROMPT, CHAIN)["problems"]
