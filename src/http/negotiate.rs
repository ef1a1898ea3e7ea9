//! Which media type an answer has, after the `Accept` header.

use actix_web::http::header::{ACCEPT, HeaderMap};

/// The two types of a GraphQL answer. They differ in the status of a request that was refused before it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells how far the request came.
    GraphQl,
    /// `application/json`, for older clients: 200 for any well-formed request.
    Json,
}

impl MediaType {
    /// The header's value.
    pub const fn header(self) -> &'static str {
        match self {
            MediaType::GraphQl => "application/graphql-response+json; charset=utf-8",
            MediaType::Json => "application/json; charset=utf-8",
        }
    }
}

const GRAPHQL: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// The type the caller likes best; `application/json` when it says nothing or `*/*`. `None` when it takes neither.
pub(super) fn negotiate(headers: &HeaderMap) -> Option<MediaType> {
    let mut any = false;
    let (mut graphql, mut json) = (None, None);
    for range in ranges(headers) {
        any = true;
        let Range { name, quality, utf8 } = range;
        if !utf8 {
            continue;
        }
        // A name said outright outweighs a wildcard, whatever the order.
        let (exact_graphql, exact_json) = (name == GRAPHQL, name == JSON);
        let wild = name == "*/*" || name == "application/*";
        if exact_graphql {
            graphql = Some((quality, true));
        }
        if exact_json {
            json = Some((quality, true));
        }
        if wild {
            json = json.or(Some((quality, false)));
            graphql = graphql.or(Some((quality, false)));
        }
    }
    if !any {
        return Some(MediaType::Json);
    }
    let rank = |found: Option<(u16, bool)>| found.filter(|(quality, _)| *quality > 0);
    match (rank(graphql), rank(json)) {
        (None, None) => None,
        (Some(_), None) => Some(MediaType::GraphQl),
        (None, Some(_)) => Some(MediaType::Json),
        // Equal by wildcard: the older type, which every client reads. Equal by name: the newer.
        (Some(graphql), Some(json)) => {
            let newer = (graphql.1, graphql.0) > (json.1, json.0) || (graphql.1 && json.1 && graphql.0 >= json.0);
            Some(if newer { MediaType::GraphQl } else { MediaType::Json })
        }
    }
}

/// Whether a JSON type is named outright: what no page, image or form asks for of its own.
pub(super) fn names_json(headers: &HeaderMap) -> bool {
    ranges(headers).any(|range| range.name == GRAPHQL || range.name == JSON)
}

/// Whether HTML is named: a person with a browser.
pub(super) fn names_html(headers: &HeaderMap) -> bool {
    ranges(headers).any(|range| range.name == "text/html")
}

struct Range {
    name: String,
    /// Thousandths.
    quality: u16,
    utf8: bool,
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range> {
    headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).filter_map(
        |range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
            let (mut quality, mut utf8) = (1000, true);
            for parameter in parts {
                let Some((key, value)) = parameter.split_once('=') else { continue };
                match key.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse::<f32>().map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16),
                    "charset" => utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
                    _ => {}
                }
            }
            Some(Range { name, quality, utf8 })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn accept(value: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_best_type_wins() {
        use MediaType::{GraphQl, Json};
        for (value, expected) in [
            (None, Some(Json)),
            (Some("*/*"), Some(Json)),
            (Some("application/*"), Some(Json)),
            (Some("application/json"), Some(Json)),
            (Some("application/graphql-response+json"), Some(GraphQl)),
            (Some("application/graphql-response+json, application/json;q=0.9"), Some(GraphQl)),
            (Some("application/json, application/graphql-response+json"), Some(GraphQl)),
            (Some("application/json, application/graphql-response+json;q=0.5"), Some(Json)),
            (Some("application/graphql-response+json;q=0.2, */*"), Some(GraphQl)),
            (Some("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8"), Some(GraphQl)),
            (Some("application/json; charset=latin1"), None),
            (Some("application/graphql-response+json;q=0, */*"), Some(Json)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Json)),
            (Some("text/html"), None),
            (Some("APPLICATION/JSON"), Some(Json)),
            (Some("image/png, application/json;q=0"), None),
        ] {
            assert_eq!(negotiate(&accept(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn json_is_only_named_when_it_is_named() {
        assert!(names_json(&accept(Some("text/html, application/json;q=0.1"))));
        for value in [None, Some("*/*"), Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some("image/avif,*/*")] {
            assert!(!names_json(&accept(value)), "{value:?}");
        }
    }
}
