//! What the lab's pictures have in common. Each is a card with colours of its own, so that it reads the same on white and on dark
//! pages.

use std::fmt::Write as _;

/// Colours of text, and of lines.
pub(crate) const TEXT: &str = "#1f2328";
pub(crate) const FAINT: &str = "#59636e";
pub(crate) const LINE: &str = "#d1d9e0";
/// Of what must not be.
pub(crate) const BAD: &str = "#cf222e";
/// Of what is as it should be.
pub(crate) const GOOD: &str = "#1a7f37";

/// The text of an SVG, as far as it is drawn.
pub(crate) struct Drawing(String);

impl Drawing {
    /// An empty card with its title, and a description for people who cannot see it.
    pub(crate) fn card(width: f64, height: f64, title: &str, described: &str) -> Self {
        let mut out = Self(String::new());
        let (title, described) = (escaped(title), escaped(described));
        out.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"t d\">\n\
             <title id=\"t\">{title}</title>\n\
             <desc id=\"d\">{described}</desc>\n\
             <style>text{{font-family:system-ui,-apple-system,\"Segoe UI\",Helvetica,Arial,\"DejaVu Sans\",sans-serif}}</style>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#ffffff\" stroke=\"{LINE}\"/>\n",
            width - 1.0,
            height - 1.0,
        ));
        out.text(24.0, 36.0, "start", 20, TEXT, "bold", &title);
        out
    }

    pub(crate) fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }

    #[expect(clippy::too_many_arguments, reason = "each is an attribute of the element")]
    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, colour: &str, weight: &str, text: &str) {
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" font-weight=\"{weight}\" \
             fill=\"{colour}\">{text}</text>\n"
        ));
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        self.add(format_args!("</svg>\n"));
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
