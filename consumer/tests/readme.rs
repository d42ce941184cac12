//! The front page shows code that compiles.

/// `cargo test --all-features` compiles the example.
#[test]
fn the_front_page_shows_the_example() {
    let (readme, example) = (include_str!("../README.md"), include_str!("../examples/service.rs"));
    let shown =
        readme.split_once("```rust,ignore\n").and_then(|(_, rest)| rest.split_once("```")).map(|(code, _)| code);
    let code = example.split_once("\n\n").map(|(_, code)| code);
    assert!(code.is_some());
    assert_eq!(shown, code);
}
