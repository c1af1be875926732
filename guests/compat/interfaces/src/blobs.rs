//! All of `wasi:blobstore`.

use crate::bindings::wasi::blobstore::blobstore;
use crate::bindings::wasi::blobstore::container::Container;
use crate::bindings::wasi::blobstore::types::{IncomingValue, ObjectId, OutgoingValue};
use crate::{because, same};

const ONE: &str = "one";
const TWO: &str = "two";

pub fn all() -> Result<(), String> {
    for container in [ONE, TWO].map(name) {
        if blobstore::container_exists(&container)? {
            blobstore::delete_container(&container)?;
        }
    }
    let one = blobstore::create_container(&name(ONE))?;
    blobstore::create_container(&name(TWO))?;
    same("exists", blobstore::container_exists(&name(ONE))?, true)?;
    let one_again = blobstore::get_container(&name(ONE))?;
    same("name", one_again.name()?, ONE.to_owned())?;
    same("container's name", one_again.info()?.name, ONE.to_owned())?;
    write(&one, "greeting", b"hello blob")?;
    same("size", one.object_info(&name("greeting"))?.size, 10)?;
    same("whole", read(&one, "greeting", 0, 9)?, b"hello blob".to_vec())?;
    same("part, both ends included", read(&one, "greeting", 6, 9)?, b"blob".to_vec())?;
    between_containers(&one)?;
    listing(&one)?;
    blobstore::delete_container(&name(TWO))?;
    same("deleted container", blobstore::container_exists(&name(TWO))?, false)
}

fn between_containers(one: &Container) -> Result<(), String> {
    let at = |container: &str, object: &str| ObjectId {
        container: container.to_owned(),
        object: object.to_owned(),
    };
    blobstore::copy_object(&at(ONE, "greeting"), &at(TWO, "copy"))?;
    blobstore::move_object(&at(TWO, "copy"), &at(TWO, "moved"))?;
    let two = blobstore::get_container(&name(TWO))?;
    same("copy is gone", two.has_object(&name("copy"))?, false)?;
    same("moved", read(&two, "moved", 0, 9)?, b"hello blob".to_vec())?;
    same("the first is still there", one.has_object(&name("greeting"))?, true)
}

fn listing(one: &Container) -> Result<(), String> {
    write(one, "second", b"")?;
    let names = one.list_objects()?;
    let (mut listed, _) = names.read_stream_object_names(10)?;
    listed.sort();
    same("listed", listed, vec!["greeting".to_owned(), "second".to_owned()])?;
    same("at the end", names.skip_stream_object_names(1)?, (0, true))?;
    one.delete_object(&name("second"))?;
    one.delete_object(&name("never there"))?;
    same("deleted", one.has_object(&name("second"))?, false)?;
    one.clear()?;
    same("cleared", one.has_object(&name("greeting"))?, false)
}

/// The generated functions take names as they are stored.
fn name(text: &str) -> String {
    text.to_owned()
}

fn write(container: &Container, object: &str, bytes: &[u8]) -> Result<(), String> {
    let value = OutgoingValue::new_outgoing_value();
    let stream = value.outgoing_value_write_body().map_err(because("write-body"))?;
    container.write_data(&name(object), &value)?;
    stream.blocking_write_and_flush(bytes).map_err(because("write"))?;
    drop(stream);
    OutgoingValue::finish(value)
}

fn read(container: &Container, object: &str, start: u64, end: u64) -> Result<Vec<u8>, String> {
    IncomingValue::incoming_value_consume_sync(container.get_data(&name(object), start, end)?)
}
