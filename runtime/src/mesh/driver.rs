//! x
pub struct Driver;
