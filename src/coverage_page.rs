//! The coverage of an archive as one HTML file: a map of hosts and hours that needs nothing from elsewhere. docs/coverage-page.md says how to read
//! it, and which data it takes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use miniz_oxide::deflate::compress_to_vec;

const TEMPLATE: &str = include_str!("coverage_page/page.html");
const STYLE: &str = include_str!("coverage_page/page.css");
/// Of compression, as zlib counts: what is gained above is little.
const LEVEL: u8 = 6;
/// In the order in which the browser reads them: each uses what those before it define.
const SCRIPTS: [&str; 6] = [
    include_str!("coverage_page/data.js"),
    include_str!("coverage_page/view.js"),
    include_str!("coverage_page/map.js"),
    include_str!("coverage_page/summary.js"),
    include_str!("coverage_page/input.js"),
    include_str!("coverage_page/page.js"),
];

/// The page of this data, which is the JSON that docs/coverage-page.md describes.
///
/// Only the page's own style and script are run: the policy in its head names them by a number that is made from the data, so that no data can
/// know it.
pub fn page(json: &str) -> String {
    // in JSON, `<` stands in strings only: without it no end of the script element can be in there
    let data = json.replace('<', "\\u003c");
    let nonce = blake3::hash(data.as_bytes()).to_hex();
    // the data comes last: nothing is looked for in it
    let page = TEMPLATE.replace("{{nonce}}", &nonce).replace("{{style}}", STYLE).replace("{{script}}", &SCRIPTS.concat());
    page.replacen("{{data}}", &data, 1)
}

/// The bytes of cells as the page takes them: raw DEFLATE, then base64.
pub fn cells(cells: &[u8]) -> String {
    BASE64_STANDARD.encode(compress_to_vec(cells, LEVEL))
}

#[cfg(test)]
mod tests {
    use miniz_oxide::inflate::decompress_to_vec;

    use super::*;

    #[test]
    fn cells_come_back_and_take_little_room() {
        // a host that is complete, one that stops, one that has all values
        let mut bytes = vec![100; 365 * 24];
        bytes.extend((0..365 * 24).map(|hour| if hour < 5000 { 100 } else { 0 }));
        bytes.extend((0..=255).cycle().take(365 * 24));
        let text = cells(&bytes);
        assert_eq!(decompress_to_vec(&BASE64_STANDARD.decode(&text).expect("base64")).expect("raw DEFLATE"), bytes);
        assert!(text.len() < bytes.len() / 20, "{} of {}", text.len(), bytes.len());
        let nothing = BASE64_STANDARD.decode(cells(&[])).expect("base64");
        assert!(decompress_to_vec(&nothing).expect("raw DEFLATE").is_empty());
    }

    #[test]
    fn no_text_of_the_data_ends_the_element_that_it_stands_in() {
        let json = r#"{"archive": "</script><script>alert(1)</script><!--<script>{{script}}{{nonce}}"}"#;
        let page = page(json);
        let ends = |text: &str| text.to_lowercase().matches("</script").count();
        assert_eq!(ends(&page), ends(TEMPLATE));
        let start = page.find("id=\"data\">").expect("the data") + "id=\"data\">".len();
        let data = &page[start..start + page[start..].find("</script>").expect("its end")];
        let (embedded, given): (serde_json::Value, serde_json::Value) = (serde_json::from_str(data).expect("JSON"), serde_json::from_str(json).expect("JSON"));
        assert_eq!(embedded, given);
    }

    #[test]
    fn the_policy_allows_nothing_but_the_pages_own_style_and_script() {
        let page = page("{}");
        let policy = page.split("Content-Security-Policy\" content=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a policy");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a number");
        let expected = format!("default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'");
        assert_eq!(policy, expected);
        assert!(!self::page("{ }").contains(nonce), "other data has another number");
        assert_eq!(page.matches("{{").count(), 0, "all places of the template are filled");
    }
}
