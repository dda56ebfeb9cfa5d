"""Serves `values` (guests/conformance/wit) in Python."""

from componentize_py_types import Err, Ok, Some
from wit_world import exports
from wit_world.imports.types import (
    Color,
    Item,
    Nested,
    NineFlags,
    Params,
    Shape_Maybe,
    Shape_Point,
    Shape_Polygon,
)


def echo(self, v):
    return v


def give_result(self, v):
    # A result as a parameter is an object; as the function's own result it is what is returned or raised.
    if isinstance(v, Err):
        raise v
    return v.value


class Values(exports.Values):
    def nothing(self):
        pass

    def no_result(self, text):
        pass

    def no_params(self):
        return 2**64 - 1

    # Functions that give back what they get.
    echo_bool = echo_s8 = echo_u8 = echo_s16 = echo_u16 = echo_s32 = echo_u32 = echo_s64 = echo_u64 = echo
    echo_f32 = echo_f64 = echo_char = echo_string = echo
    echo_bytes = echo_strings = echo_doubles = echo_longs = echo_bools = echo_options = echo_results = echo
    echo_lists = echo_items = echo
    echo_tuple = echo_mixed = echo_color = echo_many_cases = echo_shape = echo_option = echo_text_option = echo
    echo_nested_option = echo
    echo_one_flag = echo_eight_flags = echo_nine_flags = echo_seventeen_flags = echo_thirty_two_flags = echo
    echo_nested = echo
    echo_result = echo_result_ok = echo_result_err = echo_result_none = give_result

    def many_params(self, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t):
        return Params(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)

    def describe(self, v):
        flag = "true" if v.flag else "false"
        maybe = "-" if v.maybe is None else v.maybe
        ratio = int(v.ratio * 4)
        return f"{flag} {v.tiny} {v.small} {v.count} {v.big} {ratio} {v.letter} {v.text} {sum(v.bytes)} {maybe}"

    def make(self):
        return Nested(
            items=[Item(1, "tea", 2.5), Item(2**31 - 1, "Grüße 🦀", -0.0)],
            shapes=[Shape_Point(), Shape_Polygon([(0.0, 1.5), (-2.0, 1e300)]), Shape_Maybe(7), Shape_Maybe(None)],
            outcome=Err((9, "nine")),
            deep=Some([-1, None, -(2**31)]),
            rights=NineFlags.F0 | NineFlags.F8,
            pairs=[("good", Ok(None)), ("bad", Err(Color.BLUE))],
        )

