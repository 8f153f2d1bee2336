//! The page a browser shows after the sign-in.
//!
//! Knows: how it looks. Refuses to know: why. Guarantees: it is complete in itself, loads nothing, runs nothing, and what
//! is put into it is escaped.

use crate::trouble::Trouble;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#57606a;--paper:#f6f8fa;--card:#fff;--line:#d8dee4}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#8d96a0;--paper:#0d1117;--card:#161b22;--line:#30363d}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);\
font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif;padding:24px}\
main{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:40px 44px;max-width:34rem;width:100%}\
.mark{width:44px;height:44px;border-radius:50%;display:grid;place-items:center;color:#fff;font-size:22px;margin-bottom:20px}\
.good{background:#1a7f37}.bad{background:#cf222e}.dim{background:#6e7781}\
h1{font-size:1.3rem;line-height:1.3;margin:0 0 10px;font-weight:600}\
p{margin:0 0 14px;overflow-wrap:anywhere}p:last-child{margin:0;color:var(--dim)}\
.cure{border-left:3px solid var(--line);padding-left:14px}";

/// Everything worked.
pub(crate) fn success() -> String {
    page(
        "good",
        "✔",
        "Signed in",
        "<p>The sign-in was checked and stored. The connector can work with Partner Center now.</p>\
         <p>You can close this tab and go back to the terminal.</p>",
    )
}

/// Something did not.
pub(crate) fn refused(trouble: &Trouble) -> String {
    let body = format!(
        "<p>{}</p><p class=\"cure\">{}</p><p>Nothing was stored. You can close this tab.</p>",
        escaped(&capitalised(&trouble.message)),
        escaped(&capitalised(&trouble.cure)),
    );
    page("bad", "✘", "The sign-in cannot be used", &body)
}

/// Somebody tried the address by hand.
pub(crate) fn nothing_here() -> String {
    let body = "<p>The sign-in returns to this address by itself; there is nothing to see before that.</p>";
    page("dim", "…", "Waiting for the sign-in", body)
}

fn page(class: &str, mark: &str, title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title} - cosell</title><style>{STYLE}</style></head>\
         <body><main><div class=\"mark {class}\">{mark}</div><h1>{title}</h1>{body}</main></body></html>"
    )
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vendor_says_is_escaped() {
        let html = refused(&Trouble::new("x", "a <script>", "b & c"));
        assert!(
            html.contains("A &lt;script&gt;") && html.contains("B &amp; c"),
            "{html}"
        );
    }
}
