//! A filter that sets one header, with a name and a value from its
//! configuration, on every request and, when asked, every response. What came
//! in under that name is dropped, so that a request that bears the header has
//! passed the filter. It takes the same configuration as the one in Go.

mod settings;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use settings::Settings;
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

/// One configuration of the filter.
#[derive(Default)]
struct Plugin {
    settings: Rc<Settings>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, size: usize) -> bool {
        let data = if size > 0 { self.get_plugin_configuration() } else { None };
        match Settings::parse(&data.unwrap_or_default()) {
            Ok(settings) => {
                self.settings = Rc::new(settings);
                true
            }
            Err(err) => {
                critical(&format!("header: configuration: {err}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { settings: self.settings.clone() }))
    }
}

/// One HTTP request with its response.
struct Stream {
    settings: Rc<Settings>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // Setting alone would replace only the first of several.
        self.set_http_request_header(&self.settings.header, None);
        self.add_http_request_header(&self.settings.header, &self.settings.value);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.settings.response {
            self.set_http_response_header(&self.settings.header, None);
            self.add_http_response_header(&self.settings.header, &self.settings.value);
        }
        Action::Continue
    }
}

/// The log crate has no level that Envoy shows however quiet it is told to be.
fn critical(line: &str) {
    if proxy_wasm::hostcalls::log(LogLevel::Critical, line).is_err() {
        log::error!("{line}");
    }
}
