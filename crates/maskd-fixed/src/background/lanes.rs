//! Numbers of several pixels side by side, in loops that the compiler makes vector code of.

/// Pixels that are worked on side by side: as many as keep the compiler at a loop. Fewer are written out one by one.
pub const LANES: usize = 32;
pub type Lanes = [f32; LANES];
/// Whether something holds for each pixel: 1 or 0, as wide as the numbers that are chosen by it.
pub type Mask = [u32; LANES];

/// Without the rules for what is not a number, which no lane holds: one instruction for four lanes.
#[inline(always)]
pub fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// A number for each lane, by a loop: from it the compiler makes vector code, which it does not from `array::from_fn`.
#[inline(always)]
pub fn lanes<T: Copy + From<u8>>(of: impl Fn(usize) -> T) -> [T; LANES] {
    let mut lanes = [T::from(0); LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = of(i);
    }
    lanes
}

#[inline(always)]
pub fn any_set(mask: &Mask) -> bool {
    mask.iter().fold(0, |any, lane| any | lane) != 0
}

/// `a` where the mask is set, else `b`.
#[inline(always)]
pub fn choose(mask: &Mask, a: &Lanes, b: &Lanes) -> Lanes {
    lanes(|i| if mask[i] != 0 { a[i] } else { b[i] })
}

/// Up to [`LANES`] numbers of a plane, from `at` on.
#[inline(always)]
pub fn load(plane: &[f32], at: usize) -> Lanes {
    let from = &plane[at..plane.len().min(at + LANES)];
    from.try_into().unwrap_or_else(|_| {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        lanes
    })
}

/// As many of the lanes as there is room for.
#[inline(always)]
pub fn store(lanes: &Lanes, to: &mut [f32]) {
    match <&mut Lanes>::try_from(&mut *to) {
        Ok(all) => *all = *lanes,
        Err(_) => to.copy_from_slice(&lanes[..to.len()]),
    }
}
