//! Fuzz targets for this project's parsers, and for the pages that read request input, in one program. `FUZZ_TARGET` selects the
//! target. `scripts/fuzz` builds the program with coverage instrumentation and runs it.

#![no_main]
#![expect(clippy::disallowed_methods, reason = "scripts/fuzz sets the variables")]

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
