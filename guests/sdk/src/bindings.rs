//! The generated bindings of the world `daffi:runtime/imports-async`, of which a component has what it uses. They stay inside this crate, but for the types.

wit_bindgen::generate!({
    world: "imports-async",
    path: "../../wit",
    // Ours reads well when it is printed; the fields are the same.
    with: { "daffi:runtime/types@0.1.0/call-error": crate::CallError },
    additional_derives: [PartialEq],
    // They hold handles.
    additional_derives_ignore: ["streams", "replied", "streamed"],
    generate_all,
});
