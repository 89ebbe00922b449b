//! How the tests of gradients compare.

use candle_core::{Device, Result, Shape, Tensor, Var};

/// Repeatable noise in (-scale, scale).
pub(super) fn noise(shape: impl Into<Shape>, scale: f32, seed: u32) -> Tensor {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count())
        .map(|i| (((i as f32 + 1.0) * 12.9898 + seed as f32 * 78.233).sin() * 43_758.547).fract() * scale)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Value and gradients of sum(f(x) w) for uneven weights w.
fn gradients(given: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let vars: Vec<Var> = given.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let out = f(&args).unwrap();
    let weights = noise(out.shape(), 1.0, 99);
    let grads = out.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
    // Candle leaves out what is multiplied by a constant 0.
    let of = |v: &Var| grads.get(v).map_or_else(|| vec![0.0; v.elem_count()], flat);
    (flat(&out), vars.iter().map(of).collect())
}

/// Asserts that two functions agree in value and gradients to 2e-5 of the largest element.
pub(super) fn same_gradients(
    given: &[Tensor],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let ((a, da), (b, db)) = (gradients(given, fused), gradients(given, plain));
    let near = |what: &str, a: &[f32], b: &[f32]| {
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = b.iter().fold(1e-2f32, |m, x| m.max(x.abs()));
        let furthest = a.iter().zip(b).fold(0f32, |m, (x, y)| if (x - y).abs() <= m { m } else { (x - y).abs() });
        assert!(furthest <= 2e-5 * largest, "{what}: {furthest} of {largest}");
    };
    near("value", &a, &b);
    for (i, (a, b)) in da.iter().zip(&db).enumerate() {
        near(&format!("gradient {i}"), a, b);
    }
}

/// Asserts that the gradients are those of central differences, to 1 % of the largest.
pub(super) fn finite_differences(given: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f32 = 1e-2;
    let (_, grads) = gradients(given, &f);
    let value = |args: &[Tensor]| -> f64 {
        let out = f(args).unwrap();
        let weights = flat(&noise(out.shape(), 1.0, 99));
        flat(&out).iter().zip(weights).map(|(a, w)| f64::from(*a) * f64::from(w)).sum()
    };
    for (which, grad) in grads.iter().enumerate() {
        let largest = grad.iter().fold(1e-2f32, |m, x| m.max(x.abs()));
        let base = flat(&given[which]);
        for (i, g) in grad.iter().enumerate() {
            let at = |shift: f32| {
                let mut moved = base.clone();
                moved[i] += shift;
                let mut args = given.to_vec();
                args[which] = Tensor::from_vec(moved, given[which].shape(), &Device::Cpu).unwrap();
                value(&args)
            };
            let slope = ((at(STEP) - at(-STEP)) / f64::from(2.0 * STEP)) as f32;
            assert!((slope - g).abs() <= 1e-2 * largest, "argument {which}, element {i}: {g}, by differences {slope}");
        }
    }
}
