// Serves `values` (guests/conformance/wit) in JavaScript. In QuickJS's bindings, 64-bit integers are numbers, exact
// up to 2^53, and a u32 above 2^31 is a negative one: the caller is told with EXACT_BITS=53.

const echo = (v) => v;

// A result as a parameter is an object; as the function's own result it is what is returned or thrown.
const echoResult = (v) => {
  if (v.tag === "err") throw v.val;
  return v.val;
};

export const values = {
  nothing() {},
  noResult(_text) {},
  noParams: () => Number.MAX_SAFE_INTEGER,

  echoBool: echo,
  echoS8: echo,
  echoU8: echo,
  echoS16: echo,
  echoU16: echo,
  echoS32: echo,
  echoU32: echo,
  echoS64: echo,
  echoU64: echo,
  echoF32: echo,
  echoF64: echo,
  echoChar: echo,
  echoString: echo,

  echoBytes: echo,
  echoStrings: echo,
  echoDoubles: echo,
  echoLongs: echo,
  echoBools: echo,
  echoOptions: echo,
  echoResults: echo,
  echoLists: echo,
  echoItems: echo,

  echoTuple: echo,
  echoMixed: echo,
  echoColor: echo,
  echoManyCases: echo,
  echoShape: echo,
  echoOption: echo,
  echoTextOption: echo,
  echoNestedOption: echo,
  echoResult,
  echoResultOk: echoResult,
  echoResultErr: echoResult,
  echoResultNone: echoResult,
  echoOneFlag: echo,
  echoEightFlags: echo,
  echoNineFlags: echo,
  echoSeventeenFlags: echo,
  echoThirtyTwoFlags: echo,
  echoNested: echo,

  manyParams: (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t) => ({
    a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t,
  }),

  describe(v) {
    const sum = Array.from(v.bytes).reduce((sum, byte) => sum + byte, 0);
    const ratio = Math.trunc(v.ratio * 4);
    return `${v.flag} ${v.tiny} ${v.small} ${v.count} ${v.big} ${ratio} ${v.letter} ${v.text} ${sum} ${v.maybe ?? "-"}`;
  },

  make: () => ({
    items: [
      { id: 1, name: "tea", price: 2.5 },
      { id: 2147483647, name: "Grüße 🦀", price: -0.0 },
    ],
    shapes: [
      { tag: "point" },
      { tag: "polygon", val: [[0, 1.5], [-2, 1e300]] },
      { tag: "maybe", val: 7 },
      { tag: "maybe", val: null },
    ],
    outcome: { tag: "err", val: [9, "nine"] },
    deep: { tag: "some", val: [-1, null, -2147483648] },
    rights: { f0: true, f8: true },
    pairs: [
      ["good", { tag: "ok" }],
      ["bad", { tag: "err", val: "blue" }],
    ],
  }),
};
