//! A pickle is a program. This machine runs only the part of the language that builds dictionaries
//! and tensors, and refuses any other callable by name. Tuples and dictionaries lie in lists of the machine's and values
//! refer to them by number: a small file cannot unfold into a large one, and one that nests for ever, or in a circle,
//! is let go of without recursion.

use std::{collections::HashMap, rc::Rc};

use candle_core::DType;

use super::fault::WeightsFault;

/// More steps than any checkpoint needs; a pickle that takes more is refused.
const MAX_STEPS: usize = 10_000_000;

/// A pickled value.
#[derive(Clone)]
pub(super) enum Value {
    Mark,
    /// A number, text, flag or None: nothing that tensors are made of but sizes.
    Int(i64),
    Text(Rc<str>),
    Other,
    /// A number in the machine's list.
    Tuple(usize),
    /// A number in the machine's list.
    Dict(usize),
    Global(Rc<str>),
    Storage {
        dtype: DType,
        key: Rc<str>,
    },
    Tensor(Rc<Reference>),
}

/// A tensor as the pickle describes it: a view of a storage.
pub(super) struct Reference {
    pub(super) dtype: DType,
    pub(super) key: Rc<str>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

fn bad(what: &str) -> WeightsFault {
    WeightsFault::Format(format!("broken pickle: {what}"))
}

/// The pickle machine: a stack, a memo, and what values refer to.
#[derive(Default)]
pub(super) struct Machine {
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    tuples: Vec<Box<[Value]>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

/// Reads the program byte by byte, never past its end.
struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WeightsFault> {
        let (head, tail) = self.0.split_at_checked(n).ok_or_else(|| bad("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, WeightsFault> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, WeightsFault> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn line(&mut self) -> Result<&'a str, WeightsFault> {
        let end = self.0.iter().position(|&b| b == b'\n').ok_or_else(|| bad("it ends too early"))?;
        let line = self.take(end + 1)?;
        std::str::from_utf8(&line[..end]).map_err(|_| bad("a name is not text"))
    }

    fn text(&mut self, n: usize) -> Result<Value, WeightsFault> {
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| bad("a string is not text"))?;
        Ok(Value::Text(text.into()))
    }
}

impl Machine {
    /// The entries of a dictionary; `None` for every other value.
    pub(super) fn entries(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(at) => self.dicts.get(*at).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The items of a tuple; `None` for every other value.
    fn items(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(at) => self.tuples.get(*at).map(|items| &**items),
            _ => None,
        }
    }

    fn tuple(&mut self, items: Vec<Value>) -> Value {
        self.tuples.push(items.into());
        Value::Tuple(self.tuples.len() - 1)
    }

    fn dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    /// Runs a whole program and gives what it leaves.
    pub(super) fn run(&mut self, program: &[u8]) -> Result<Value, WeightsFault> {
        let mut p = Program(program);
        for _ in 0..MAX_STEPS {
            let op = p.byte()?;
            match op {
                0x80 => _ = p.byte()?,     // PROTO
                0x95 => _ = p.take(8)?,    // FRAME
                b'.' => return self.pop(), // STOP
                b'(' => self.stack.push(Value::Mark),
                b'c' => {
                    let global = format!("{}.{}", p.line()?, p.line()?);
                    self.global(&global)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err(bad("a global without a name"));
                    };
                    self.global(&format!("{module}.{name}"))?;
                }
                b'q' => {
                    let slot = u32::from(p.byte()?);
                    self.put(slot)?;
                }
                b'r' => {
                    let slot = p.u32()?;
                    self.put(slot)?;
                }
                0x94 => self.put(self.memo.len() as u32)?, // MEMOIZE
                b'h' => {
                    let slot = u32::from(p.byte()?);
                    self.get(slot)?;
                }
                b'j' => {
                    let slot = p.u32()?;
                    self.get(slot)?;
                }
                b'X' => {
                    let n = p.u32()? as usize;
                    let text = p.text(n)?;
                    self.stack.push(text);
                }
                0x8c => {
                    let n = usize::from(p.byte()?);
                    let text = p.text(n)?;
                    self.stack.push(text);
                }
                b'J' => {
                    let n = p.u32()? as i32;
                    self.stack.push(Value::Int(i64::from(n)));
                }
                b'K' => {
                    let n = p.byte()?;
                    self.stack.push(Value::Int(i64::from(n)));
                }
                b'M' => {
                    let b = p.take(2)?;
                    self.stack.push(Value::Int(i64::from(u16::from_le_bytes([b[0], b[1]]))));
                }
                0x8a => {
                    let n = usize::from(p.byte()?);
                    let mut wide = [0u8; 8];
                    let digits = p.take(n)?;
                    if n > 8 || digits.last().is_some_and(|b| b & 0x80 != 0) {
                        self.stack.push(Value::Other); // too large or negative: no size or offset
                    } else {
                        wide[..n].copy_from_slice(digits);
                        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
                    }
                }
                b'G' => {
                    p.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'N' | 0x88 | 0x89 => self.stack.push(Value::Other), // None, True, False
                b')' => {
                    let empty = self.tuple(Vec::new());
                    self.stack.push(empty);
                }
                b't' => {
                    let items = self.since_mark()?;
                    let tuple = self.tuple(items);
                    self.stack.push(tuple);
                }
                0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let at = self.stack.len().checked_sub(n).ok_or_else(|| bad("the stack is empty"))?;
                    let items = self.stack.split_off(at);
                    let tuple = self.tuple(items);
                    self.stack.push(tuple);
                }
                b'}' => {
                    let dict = self.dict();
                    self.stack.push(dict);
                }
                b']' => self.stack.push(Value::Other), // lists hold no tensors that we want
                b'a' => _ = self.pop()?,
                b'e' => _ = self.since_mark()?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(&id)?;
                    self.stack.push(storage);
                }
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    let result = self.call(&callable, &arguments)?;
                    self.stack.push(result);
                }
                b'b' => _ = self.pop()?, // BUILD: the state of an object that we do not look into
                other => return Err(bad(&format!("unsupported instruction 0x{other:02x}"))),
            }
        }
        Err(bad("it takes too many steps"))
    }

    fn pop(&mut self) -> Result<Value, WeightsFault> {
        self.stack.pop().ok_or_else(|| bad("the stack is empty"))
    }

    fn put(&mut self, slot: u32) -> Result<(), WeightsFault> {
        let top = self.stack.last().ok_or_else(|| bad("the stack is empty"))?;
        self.memo.insert(slot, top.clone());
        Ok(())
    }

    fn get(&mut self, slot: u32) -> Result<(), WeightsFault> {
        let value = self.memo.get(&slot).ok_or_else(|| bad("an empty memo slot"))?;
        self.stack.push(value.clone());
        Ok(())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, WeightsFault> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark)).ok_or_else(|| bad("no mark"))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), WeightsFault> {
        if let Some(Value::Dict(at)) = self.stack.last()
            && let Some(entries) = self.dicts.get_mut(*at)
        {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
        }
        Ok(())
    }

    /// The callables and types that checkpoints of vision transformers name; anything else is refused.
    fn global(&mut self, name: &str) -> Result<(), WeightsFault> {
        const HARMLESS: [&str; 8] = [
            "collections.OrderedDict",
            "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_parameter",
            "torch.Size",
            "torch.device",
            "argparse.Namespace",
            "pathlib.PosixPath",
            "collections.defaultdict",
        ];
        let kind = name.strip_prefix("torch.").and_then(|n| n.strip_suffix("Storage"));
        if HARMLESS.contains(&name) || kind.is_some() {
            self.stack.push(Value::Global(name.into()));
            Ok(())
        } else {
            Err(WeightsFault::Unsafe(name.to_owned()))
        }
    }

    /// `("storage", torch.FloatStorage, key, device, length)`: where a tensor's bytes are.
    fn storage(&self, id: &Value) -> Result<Value, WeightsFault> {
        let Some([Value::Text(_), Value::Global(kind), Value::Text(key), ..]) = self.items(id) else {
            return Err(bad("a storage without a name"));
        };
        let dtype = match &**kind {
            "torch.FloatStorage" => DType::F32,
            "torch.HalfStorage" => DType::F16,
            "torch.BFloat16Storage" => DType::BF16,
            "torch.DoubleStorage" => DType::F64,
            _ => return Ok(Value::Other), // step counters and the like
        };
        Ok(Value::Storage { dtype, key: key.clone() })
    }

    fn call(&mut self, callable: &Value, arguments: &Value) -> Result<Value, WeightsFault> {
        let (Value::Global(name), Some(arguments)) = (callable, self.items(arguments)) else {
            return Err(bad("a call of something that is no function"));
        };
        match (&**name, arguments) {
            ("collections.OrderedDict", _) => Ok(self.dict()),
            ("torch._utils._rebuild_parameter", [tensor, ..]) => Ok(tensor.clone()),
            ("torch._utils._rebuild_tensor_v2", [Value::Storage { dtype, key }, offset, shape, stride, ..]) => {
                Ok(Value::Tensor(Rc::new(Reference {
                    dtype: *dtype,
                    key: key.clone(),
                    offset: size(offset)?,
                    shape: self.sizes(shape)?,
                    stride: self.sizes(stride)?,
                })))
            }
            _ => Ok(Value::Other),
        }
    }

    fn sizes(&self, value: &Value) -> Result<Vec<usize>, WeightsFault> {
        match self.items(value) {
            Some(items) if items.len() <= 8 => items.iter().map(size).collect(),
            _ => Err(bad("a shape that is no tuple")),
        }
    }
}

fn size(value: &Value) -> Result<usize, WeightsFault> {
    match value {
        Value::Int(n) => usize::try_from(*n).map_err(|_| bad("a negative size")),
        _ => Err(bad("a size that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `prefix`, `step` many times, `suffix`.
    fn program(prefix: &[u8], step: &[u8], times: usize, suffix: &[u8]) -> Vec<u8> {
        [prefix, &step.repeat(times), suffix].concat()
    }

    #[test]
    fn what_nests_for_ever_or_in_a_circle_is_let_go_of() {
        // Tuples in tuples; dictionaries in dictionaries, each filled after it was put away; one that holds itself.
        let tuples = program(b")", b"\x85", 1_000_000, b".");
        let dicts = program(b"}q\x00h\x00", b"K\x01}q\x01sh\x01", 1_000_000, b".");
        for program in [tuples, dicts, b"}q\x00K\x01h\x00s.".to_vec()] {
            let mut machine = Machine::default();
            assert!(machine.run(&program).is_ok());
        }
    }

    #[test]
    fn a_program_that_does_not_end_or_lacks_what_it_asks_for_is_refused() {
        for program in [&b""[..], b"}", b"h\x00.", b"t.", b"\x85.", b"X\xff\xff\xff\x7fa.", b"R.", b"cos\nsystem\n."] {
            assert!(Machine::default().run(program).is_err(), "{program:?}");
        }
    }
}
