"""Looks of scenes and of the cells of their images."""

from got_r1.icons.data import triples
from got_r1.icons.looks import LOOKS, look_map, relook
from got_r1.icons.splits import holds_out_color
from got_r1.icons.world import CELL, pixels_from_box


def test_relooking_changes_looks_alone_and_draws_nothing_held_out():
    scenes = [triple.scene for triple in triples(300, seed=5)]
    changed = 0
    for number, scene in enumerate(scenes):
        other = relook(scene, str(number))
        assert other == relook(scene, str(number))
        assert [(i.noun, i.box) for i in other.icons] == [(i.noun, i.box) for i in scene.icons]
        assert not any(holds_out_color(icon.color, icon.noun) for icon in other.icons)
        changed += other != scene
    assert changed > 250  # one icon keeps its look once in 18 times


def test_every_cell_of_a_box_has_the_look_of_its_object():
    for triple in triples(50, seed=6):
        looks = look_map(triple.scene)
        for icon in triple.scene.icons:
            x1, y1, x2, y2 = pixels_from_box(icon.box)
            box = looks[y1 // CELL : y2 // CELL, x1 // CELL : x2 // CELL]
            assert (box == LOOKS.index((icon.color, icon.fill))).all()
            looks[y1 // CELL : y2 // CELL, x1 // CELL : x2 // CELL] = -1
        assert (looks == -1).all()
