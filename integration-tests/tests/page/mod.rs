//! The page of a function: its answers, its HTML in Chromium, and the same page of a running lab.

mod answers;
mod lab;
pub(crate) mod support;
mod widget;
