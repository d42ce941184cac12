//! Only benchmarks: `benches/current.rs`.
