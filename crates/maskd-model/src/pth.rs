//! PyTorch's `.pth`: a zip archive with a pickle that names tensors, and their bytes beside it.

use std::{
    collections::HashMap,
    io::{Cursor, Read},
    rc::Rc,
};

use candle_core::Tensor;
use zip::ZipArchive;

use super::{
    fault::WeightsFault,
    pickle::{Machine, Reference, Value},
    raw::{Raw, from_bytes},
};

const MAX_PICKLE: u64 = 256 << 20;

/// An archive, and how many bytes may still be unpacked from it.
struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// PyTorch stores without compression: all entries together are not larger than the file that holds them.
    left: u64,
}

/// Reads the backbone's tensors out of a `.pth`: of its `teacher` where it has one (a full DINO
/// checkpoint), else of `model` or `state_dict`, else of the file itself.
pub(super) fn read(bytes: &[u8]) -> Result<Raw, WeightsFault> {
    let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| WeightsFault::Format(e.to_string()))?;
    let mut archive = Archive { zip, left: bytes.len() as u64 };
    let name = archive
        .zip
        .file_names()
        .filter_map(Result::ok)
        .find(|n| *n == "data.pkl" || n.ends_with("/data.pkl"))
        .ok_or_else(|| WeightsFault::Format("the archive holds no data.pkl".to_owned()))?
        .into_owned();
    let root = name.trim_end_matches("data.pkl").to_owned();
    if archive.entry(&format!("{root}byteorder")).is_ok_and(|order| order.trim_ascii() != b"little") {
        return Err(WeightsFault::Format("big-endian tensors are not supported".to_owned()));
    }
    let program = archive.entry(&name)?;
    let mut machine = Machine::default();
    let top = machine.run(&program)?;
    let inner = ["teacher", "model", "state_dict"].iter().find_map(|key| lookup(machine.entries(&top)?, key));
    let state = inner.unwrap_or(top);
    let entries =
        machine.entries(&state).ok_or_else(|| WeightsFault::Format("it does not hold a state dict".to_owned()))?;
    let mut storages: HashMap<Rc<str>, Vec<u8>> = HashMap::new();
    let mut tensors = HashMap::new();
    // Tensors may share their bytes; a file that makes much of little is none that was trained.
    let mut room = 2 * bytes.len();
    for (key, value) in entries {
        let (Value::Text(name), Value::Tensor(tensor)) = (key, value) else { continue };
        if !storages.contains_key(&tensor.key) {
            storages.insert(tensor.key.clone(), archive.entry(&format!("{root}data/{}", tensor.key))?);
        }
        let view = tensor.view(name, &storages[&tensor.key], room)?;
        room -= view.elem_count() * tensor.dtype.size_in_bytes();
        tensors.insert(name.to_string(), view);
    }
    if tensors.is_empty() {
        return Err(WeightsFault::Format("the state dict holds no tensors".to_owned()));
    }
    Ok(Raw { tensors, metadata: HashMap::new() })
}

impl Archive<'_> {
    fn entry(&mut self, name: &str) -> Result<Vec<u8>, WeightsFault> {
        let broken = |e: &dyn std::fmt::Display| WeightsFault::Format(format!("{name}: {e}"));
        let file = self.zip.by_name(name).map_err(|e| broken(&e))?;
        if file.size() > self.left || (name.ends_with(".pkl") && file.size() > MAX_PICKLE) {
            return Err(broken(&format_args!("claims {} bytes", file.size())));
        }
        let mut data = Vec::with_capacity(file.size() as usize);
        file.take(self.left).read_to_end(&mut data).map_err(|e| broken(&e))?;
        self.left -= data.len() as u64;
        Ok(data)
    }
}

fn lookup(entries: &[(Value, Value)], key: &str) -> Option<Value> {
    entries.iter().find_map(|(k, v)| match (k, v) {
        (Value::Text(k), Value::Dict(_)) if &**k == key => Some(v.clone()),
        _ => None,
    })
}

impl Reference {
    /// The tensor's elements, gathered through its strides; at most `room` bytes of them.
    fn view(&self, name: &str, storage: &[u8], room: usize) -> Result<Tensor, WeightsFault> {
        let width = self.dtype.size_in_bytes();
        let outside = || WeightsFault::Format(format!("tensor {name} reaches outside its storage"));
        let count = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(outside)?;
        if count.checked_mul(width).is_none_or(|bytes| bytes > storage.len()) || self.shape.len() != self.stride.len() {
            return Err(outside());
        }
        if count * width > room {
            return Err(WeightsFault::Format("its tensors are larger than the file that holds them".to_owned()));
        }
        let mut data = Vec::with_capacity(count * width);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let at = index
                .iter()
                .zip(&self.stride)
                .try_fold(self.offset, |at, (&i, &s)| at.checked_add(i.checked_mul(s)?))
                .and_then(|at| at.checked_mul(width))
                .ok_or_else(outside)?;
            data.extend_from_slice(storage.get(at..at.saturating_add(width)).ok_or_else(outside)?);
            for (i, &n) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
        from_bytes(name, &data, self.dtype, &self.shape)
    }
}
