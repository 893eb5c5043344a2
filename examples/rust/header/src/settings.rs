use serde::Deserialize;

/// The filter's configuration. The defaults are
/// `{"header": "X-my-custom-header", "value": "hello world", "response": false}`
/// and `{"direction": "in"}` is short for `{"header": "X-direction", "value": "in"}`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub header: String,
    pub value: String,
    /// Set it on responses as well.
    pub response: bool,
    direction: String,
}

impl Settings {
    /// Reads JSON, fills in what was left out and refuses what would not be a
    /// header field (RFC 9110, section 5).
    pub fn parse(data: &[u8]) -> Result<Settings, String> {
        let mut s = if data.iter().all(u8::is_ascii_whitespace) {
            Settings::default()
        } else {
            serde_json::from_slice(data).map_err(|err| err.to_string())?
        };
        if !s.direction.is_empty() {
            if !s.header.is_empty() || !s.value.is_empty() {
                return Err("direction stands for header and value: give it or them".into());
            }
            s.header = "X-direction".into();
            s.value = s.direction.clone();
        }
        if s.header.is_empty() {
            s.header = "X-my-custom-header".into();
        }
        if s.value.is_empty() {
            s.value = "hello world".into();
        }
        if let Some(c) = s.header.chars().find(|&c| !token(c)) {
            return Err(format!("header: {c:?} can't be in a header's name"));
        }
        if let Some(c) = s.value.chars().find(|&c| c.is_ascii_control() && c != '\t') {
            return Err(format!("value: {c:?} can't be in a header's value"));
        }
        Ok(s)
    }
}

fn token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: &str) -> Result<(String, String, bool), String> {
        Settings::parse(data.as_bytes()).map(|s| (s.header, s.value, s.response))
    }

    #[test]
    fn good() {
        let all = [
            ("", ("X-my-custom-header", "hello world", false)),
            (" \n", ("X-my-custom-header", "hello world", false)),
            (r#"{"response": true}"#, ("X-my-custom-header", "hello world", true)),
            (r#"{"header": "X-Team", "value": "blue"}"#, ("X-Team", "blue", false)),
            (r#"{"direction": "out", "response": true}"#, ("X-direction", "out", true)),
        ];
        for (data, (header, value, response)) in all {
            assert_eq!(parse(data), Ok((header.into(), value.into(), response)), "{data}");
        }
    }

    #[test]
    fn bad() {
        let all = [
            ("header: x", "expected value"),
            (r#"{"heder": "x"}"#, "unknown field `heder`"),
            (r#"{"value": 1}"#, "invalid type"),
            ("{} {}", "trailing characters"),
            (r#"{"header": "x y"}"#, "' ' can't be in a header's name"),
            (r#"{"value": "a\r\nb: c"}"#, r"'\r' can't be in a header's value"),
            (r#"{"direction": "in", "value": "x"}"#, "direction stands for"),
        ];
        for (data, want) in all {
            let err = parse(data).unwrap_err();
            assert!(err.contains(want), "{data}: {err}");
        }
    }
}
