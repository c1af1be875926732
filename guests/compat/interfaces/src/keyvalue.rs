//! All of `wasi:keyvalue` but its watcher.

use crate::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::{because, same};

pub fn store() -> Result<(), String> {
    let bucket = store::open("").map_err(because("open"))?;
    bucket.set("a", b"1").map_err(because("set"))?;
    bucket.set("a/b c", b"2").map_err(because("set a path"))?;
    same("get", bucket.get("a").map_err(because("get"))?, Some(b"1".to_vec()))?;
    same("exists", bucket.exists("a/b c").map_err(because("exists"))?, true)?;
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor).map_err(because("list-keys"))?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    same("listed", keys.contains(&"a".to_owned()) && keys.contains(&"a/b c".to_owned()), true)?;
    bucket.delete("a/b c").map_err(because("delete"))?;
    same("deleted", bucket.get("a/b c").map_err(because("get"))?, None)?;
    bucket.delete("n").map_err(because("delete"))?;
    same("first", atomics::increment(&bucket, "n", 3).map_err(because("increment"))?, 3)?;
    same("second", atomics::increment(&bucket, "n", 4).map_err(because("increment"))?, 7)
}

pub fn batch() -> Result<(), String> {
    let bucket = store::open("").map_err(because("open"))?;
    let pair = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    let keys: Vec<String> = ["x", "y", "z"].map(str::to_owned).to_vec();
    batch::set_many(&bucket, &[pair("x", b"1"), pair("y", b"2")]).map_err(because("set-many"))?;
    let found = batch::get_many(&bucket, &keys).map_err(because("get-many"))?;
    let found: Vec<_> = found.into_iter().flatten().collect();
    same("found", found, vec![pair("x", b"1"), pair("y", b"2")])?;
    batch::delete_many(&bucket, &keys).map_err(because("delete-many"))?;
    same("gone", bucket.exists("x").map_err(because("exists"))?, false)
}
