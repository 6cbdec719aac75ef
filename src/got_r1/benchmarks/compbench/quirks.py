"""Where the official T2I-CompBench code plainly does something else than it means to.

A number that stands beside published ones must have the same faults, so all of them are on unless
somebody asks for a corrected score, which is then marked as not comparable. Each is one switch
here, read in one place. What is odd but could be meant has no switch: it is described where it is
done.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["CORRECTED", "OFFICIAL", "Quirks"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """True: as the official code does it. False: corrected."""

    depth_axes_swapped: bool = True
    """3D: a box's mean depth is taken from the map sliced by (x, y) instead of (row, column), so
    from the region mirrored at the diagonal. Corrected: the region of the box."""

    on_top_of_hole: bool = True
    """2D: "on top of" is recognised as a phrase, but no rule measures it, so its position is always
    worth 0. Corrected: it is measured as "on the top of" is."""

    near_along_one_axis: bool = True
    """2D: "near" holds where the offset along *either* axis is below the limit, so objects at
    opposite ends of a row are near. Corrected: along both."""

    near_inside_words: bool = True
    """2D: phrases are looked for as pieces of text, so "nearby" and "linear" ask for nearness.
    Corrected: as whole words."""

    phrases_missed: bool = True
    """2D, complex prompts: "on the side of", "on the top of" and "on the bottom of" do not lead to
    the two objects (nor does the first have a relation). Corrected: they do."""

    labels_by_substring: bool = True
    """3D and numeracy: an object's word is found anywhere inside a label, a car in "carrot" and a
    key in "monkey". Corrected: as whole words of the label."""

    def corrected(self) -> tuple[str, ...]:
        """The names of the faults that are corrected, in order; none for official scores."""
        return tuple(field.name for field in fields(self) if not getattr(self, field.name))


OFFICIAL = Quirks()
CORRECTED = Quirks(*[False] * len(fields(Quirks)))
