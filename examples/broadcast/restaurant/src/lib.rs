//! A restaurant: its menu is in the environment variable MENU, `soup 4.5, bread 2`.

wit_bindgen::generate!({ world: "restaurant", path: "../wit" });

use exports::demo::restaurants::menus::{Dish, Guest};

struct Restaurant;

impl Guest for Restaurant {
    fn menu() -> Vec<Dish> {
        let menu = std::env::var("MENU").unwrap_or_default();
        let dishes = menu.split(',').filter_map(|dish| dish.trim().rsplit_once(' '));
        dishes.filter_map(|(name, price)| Some(Dish { name: name.into(), price: price.parse().ok()? })).collect()
    }
}

export!(Restaurant);
