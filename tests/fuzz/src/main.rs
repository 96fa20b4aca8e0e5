//! Fuzz targets for every parser of ours, and for the pages that read request input, in one program: which of them it
//! runs is the value of `FUZZ_TARGET`. `scripts/fuzz` builds it, with the instrumentation that guides it, and runs it.

#![no_main]
#![expect(
    clippy::disallowed_methods,
    reason = "the variables are those of scripts/fuzz"
)]

mod inputs;
mod parsers;
mod site;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        match name.as_str() {
            "cookies" => parsers::cookies,
            "csrf" => parsers::csrf,
            "fixtures" => parsers::fixtures,
            "forms" => parsers::forms,
            "framing" => parsers::framing,
            "proxy" => parsers::proxy,
            "sessions" => parsers::sessions,
            "dates" => |bytes| site::send(inputs::dates(bytes)),
            "filters" => |bytes| site::send(inputs::filters(bytes)),
            "requests" => |bytes| site::send(inputs::requests(bytes)),
            other => panic!("there is no target {other:?}"),
        }
    });
    target(bytes);
});
