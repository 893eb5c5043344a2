//! A filter that remembers something of a request and uses it later: the
//! response names the request it answers, and when the stream is done one line
//! in the log tells of both, with the bodies and trailers that went each way.
//! It does what the one in Go does.
//!
//! Each stream has a context of its own, with an id that the proxy gives; what
//! is kept in the context is there in all of the stream's callbacks, however
//! many streams are under way.

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::{Deserialize, Serialize};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

/// The filter's configuration.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Header with the request's name; Envoy sets x-request-id.
    request: String,
    /// Header that has it in the response.
    response: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { request: "x-request-id".into(), response: "x-correlation-id".into() }
    }
}

#[derive(Default)]
struct Plugin {
    settings: Rc<Settings>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, size: usize) -> bool {
        if size == 0 {
            return true;
        }
        match serde_json::from_slice(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(settings) => {
                self.settings = Rc::new(settings);
                true
            }
            Err(err) => {
                critical(&format!("correlation: configuration: {err}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let line = Line { context: id, ..Line::default() };
        Some(Box::new(Stream { settings: self.settings.clone(), line }))
    }
}

/// One request with its response.
struct Stream {
    settings: Rc<Settings>,
    line: Line,
}

/// What is known of a stream, as the log has it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// Unique in this VM while the stream lives.
    context: u32,
    id: String,
    method: String,
    path: String,
    status: String,
    request: Part,
    response: Part,
}

/// What went one way after the headers.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    body_bytes: usize,
    trailers: usize,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.line.method = self.get_http_request_header(":method").unwrap_or_default();
        self.line.path = self.get_http_request_header(":path").unwrap_or_default();
        self.line.id = match self.get_http_request_header(&self.settings.request) {
            Some(id) if !id.is_empty() => id,
            _ => format!("context-{}", self.line.context),
        };
        Action::Continue
    }

    // The body's callbacks get it in pieces, each with the piece's size, as
    // long as none of them pauses the stream.
    fn on_http_request_body(&mut self, size: usize, _: bool) -> Action {
        self.line.request.body_bytes += size;
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, trailers: usize) -> Action {
        self.line.request.trailers = trailers;
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.line.status = self.get_http_response_header(":status").unwrap_or_default();
        self.set_http_response_header(&self.settings.response, Some(&self.line.id));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        self.line.response.body_bytes += size;
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, trailers: usize) -> Action {
        self.line.response.trailers = trailers;
        Action::Continue
    }

    fn on_log(&mut self) {
        match serde_json::to_string(&self.line) {
            Ok(line) => info!("correlation: {line}"),
            Err(err) => critical(&format!("correlation: writing the line: {err}")),
        }
    }
}

/// The log crate has no level that Envoy shows however quiet it is told to be.
fn critical(line: &str) {
    if proxy_wasm::hostcalls::log(LogLevel::Critical, line).is_err() {
        log::error!("{line}");
    }
}
