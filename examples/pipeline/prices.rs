//! What things cost, for both shops.

/// In cents.
pub fn price(what: &str) -> Result<u32, String> {
    match what {
        "tea" => Ok(250),
        "cake" => Ok(400),
        _ => Err(format!("we have no {what}")),
    }
}
