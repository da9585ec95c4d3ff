//! The web page at `/`, and the files that it and the API pages are made of: all inside the binary.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::Problem;
use rust_embed::RustEmbed;

use crate::{
    api::Description,
    health::{self, Health},
};

/// The page loads only from here and speaks only to here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/assets"]
struct Assets;

/// The page for a browser, a few words of JSON for a client that asks for JSON.
#[utoipa::path(get, path = "/", tag = "Front door", security(()), summary = "The web page, or JSON by Accept",
    responses((status = 200, description = "HTML for a browser; JSON for `Accept: application/json`",
        content((Description = "application/json"), (String = "text/html", example = json!("<!doctype html>…"))))))]
pub(crate) async fn index(State(state): State<Health>, request: HeaderMap) -> Response {
    let mut response = if prefers_json(&request) {
        health::describe(&state)
    } else {
        let mut page = file("index.html", &request);
        page.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CONTENT_SECURITY_POLICY),
        );
        page
    };
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// `GET /assets/{*path}`.
pub(crate) async fn asset(Path(path): Path<String>, request: HeaderMap) -> Response {
    file(&path, &request)
}

/// One embedded file, or 304 when the client has it.
pub(crate) fn file(path: &str, request: &HeaderMap) -> Response {
    let Some(file) = Assets::get(path) else {
        return Problem::not_found("There is no such file").into_response();
    };
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    content(content_type(path), bytes, request)
}

/// Bytes of the binary's own under a tag made of them, or 304 when the client has them.
pub(crate) fn content(kind: &str, bytes: Bytes, request: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    let tag = format!("\"{:016x}-{:x}\"", hasher.finish(), bytes.len());
    let mut response = if is_known(&tag, request) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        axum::body::Body::from(bytes).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [(header::CONTENT_TYPE, kind), (header::ETAG, &tag)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

/// Whether one of the tags the client names is this one; a weak tag is as good here, and `*` is any.
fn is_known(tag: &str, request: &HeaderMap) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Whether JSON is named in `Accept`, and liked better than HTML. `*/*` names neither.
fn prefers_json(headers: &HeaderMap) -> bool {
    let mut json = 0.0_f32;
    let mut html = 0.0_f32;
    let ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Some(1.0), |q| q.parse().ok())
            .unwrap_or(0.0);
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => json = json.max(quality),
            "text/html" => html = html.max(quality),
            _ => {}
        }
    }
    json > html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_only_for_those_who_prefer_it() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("*/*", false),
            ("", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/html;q=0.5, application/json", true),
            ("text/html, application/json;q=0.9", false),
            ("application/json;q=0", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_json(&headers), json, "{accept:?}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }

    #[test]
    fn the_reference_fetches_nothing_from_its_makers() {
        let script = Assets::get("vendor/redoc/redoc.standalone.js").expect("it is embedded");
        assert!(!String::from_utf8_lossy(&script.data).contains("cdn.redoc.ly"));
    }

    #[test]
    fn the_page_needs_no_other_host() {
        let own = Assets::iter().filter(|name| !name.starts_with("vendor/"));
        let mut seen = 0;
        for name in own {
            let file = Assets::get(&name).unwrap_or_else(|| panic!("{name} is embedded"));
            seen += 1;
            let text = std::str::from_utf8(&file.data).unwrap();
            for outside in ["http://", "https://", "src=\"//", "@import"] {
                let found = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!found.contains(outside), "{name} refers to {outside}");
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn scripts_and_styles_are_files_of_their_own() {
        for name in ["index.html", "docs.html", "redoc.html"] {
            let file = Assets::get(name).unwrap_or_else(|| panic!("{name} is embedded"));
            let text = std::str::from_utf8(&file.data).unwrap();
            for inline in ["<style", " style=", "javascript:", " onclick="] {
                assert!(!text.contains(inline), "{name} has {inline}");
            }
            let scripts = text.matches("<script").count();
            assert_eq!(scripts, text.matches("></script>").count(), "{name}");
        }
    }
}
