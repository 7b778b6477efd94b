/** Small programs, each with `run`, that together use what compilers emit: what they answer must survive rewriting. */

const MARK = `(func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (local.get 0))`;

function program(body: string, more = ""): string {
  return `(module (memory (export "memory") 1 4) ${MARK} ${more} (func (export "run") (result i32) ${body}))`;
}

export const PROGRAMS: readonly string[] = [
  // Nested loops, a local that lives through them.
  program(
    `(local $i i32) (local $j i32) (local $s i32)
     (loop $a (local.set $j (i32.const 0))
       (loop $b (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 31)) (i32.xor (local.get $i) (local.get $j))))
         (local.set $j (i32.add (local.get $j) (i32.const 1))) (br_if $b (i32.lt_u (local.get $j) (i32.const 20))))
       (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $a (i32.lt_u (local.get $i) (i32.const 20))))
     (local.get $s)`,
  ),
  // Recursion with results and early returns.
  program(
    `(call $fib (i32.const 12))`,
    `(func $fib (param i32) (result i32)
       (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
       (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))`,
  ),
  // Recursion with several results, so that its block needs a type of its own.
  program(
    `(call $pair (i32.const 9)) (i32.wrap_i64) (i32.add)`,
    `(func $pair (param i32) (result i32 i64)
       (if (i32.eqz (local.get 0)) (then (return (i32.const 3) (i64.const 4))))
       (call $pair (i32.sub (local.get 0) (i32.const 1))) (i64.const 7) (i64.add))`,
  ),
  // A state machine: blocks in blocks and a table of branches.
  program(
    `(local $state i32) (local $sum i32)
     (loop $again
       (block $end (block $c (block $b (block $a (br_table $a $b $c $end (local.get $state)))
         (local.set $sum (i32.add (local.get $sum) (i32.const 5))) (local.set $state (i32.const 2)) (br $again))
         (local.set $sum (i32.mul (local.get $sum) (i32.const 3))) (local.set $state (i32.const 3)) (br $again))
         (local.set $sum (i32.xor (local.get $sum) (i32.const 99))) (local.set $state (i32.const 1)) (br $again)))
     (local.get $sum)`,
  ),
  // Calls through a table, in a circle.
  program(
    `(call_indirect (type $t) (i32.const 30) (i32.const 0))`,
    `(type $t (func (param i32) (result i32))) (table 4 funcref) (elem (i32.const 0) $even $odd)
     (func $even (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
       (else (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
     (func $odd (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
       (else (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))`,
  ),
  // Tail calls.
  program(
    `(call $count (i32.const 50) (i32.const 0))`,
    `(func $count (param i32 i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
       (return_call $count (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (local.get 0))))`,
  ),
  // Bulk memory, passive data, growth up to the maximum.
  program(
    `(memory.fill (i32.const 100) (i32.const 7) (i32.const 900)) (memory.copy (i32.const 2000) (i32.const 50) (i32.const 500))
     (memory.init $d (i32.const 10) (i32.const 1) (i32.const 3)) (data.drop $d)
     (drop (memory.grow (i32.const 2))) (drop (memory.grow (i32.const 9)))
     (i32.add (memory.size) (i32.load (i32.const 2040)))`,
    `(data $d "hello")`,
  ),
  // Tables that change.
  program(
    `(table.set (i32.const 0) (ref.func $f)) (drop (table.grow (ref.null func) (i32.const 3)))
     (table.fill (i32.const 1) (ref.func $f) (i32.const 2)) (i32.add (table.size) (call_indirect (result i32) (i32.const 2)))`,
    `(table 2 funcref) (elem declare func $f) (func $f (result i32) (i32.const 42))`,
  ),
  // Wide integers, floats, conversions.
  program(
    `(local $x i64) (local $f f64) (local.set $x (i64.mul (i64.const 0x123456789) (i64.const 987654321)))
     (local.set $f (f64.convert_i64_s (local.get $x)))
     (i32.xor (i32.wrap_i64 (i64.rotl (local.get $x) (i64.const 13))) (i32.trunc_sat_f64_s (f64.sqrt (local.get $f))))`,
  ),
  // Vectors.
  program(
    `(i32x4.extract_lane 2 (i32x4.add (v128.const i32x4 1 2 3 4) (i32x4.shl (v128.load (i32.const 16)) (i32.const 2))))`,
    `(data (i32.const 16) "0123456789abcdef")`,
  ),
  // Exceptions, thrown deep down and caught.
  program(
    `(local $n i32) (local $s i32)
     (loop $l
       (try (do (call $deep (i32.const 8))) (catch $e (local.set $s (i32.add (local.get $s)))))
       (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 9))))
     (local.get $s)`.replace("(local.set $s (i32.add (local.get $s)))", "(local.get $s) (i32.add) (local.set $s)"),
    `(tag $e (param i32)) (func $deep (param i32)
       (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 5)))) (call $deep (i32.sub (local.get 0) (i32.const 1))))`,
  ),
  // Globals, a start function, traps.
  program(
    `(global.set $g (i32.add (global.get $g) (i32.const 1))) (i32.div_u (global.get $g) (i32.load (i32.const 0)))`,
    `
    (global $g (mut i32) (i32.const 41)) (func $s (global.set $g (i32.const 99)) (i32.store (i32.const 0) (i32.const 10))) (start $s)`,
  ),
  program(`(i32.load (i32.const 65534))`),
  // Loops that call nothing, left by every way there is: over the end, by branches of three kinds, by a return, by a throw.
  program(
    `(local $n i32) (local $s i32)
     (loop $outer
       (block $done (block $early
         (loop $a (local.set $s (i32.add (local.get $s) (i32.const 3)))
           (br_if $early (i32.eq (i32.and (local.get $s) (i32.const 63)) (i32.const 9)))
           (loop $b (local.set $s (i32.add (local.get $s) (i32.const 1))) (br_if $b (i32.and (local.get $s) (i32.const 3))))
           (br_table $a $early $done (i32.rem_u (local.get $s) (i32.const 5)))))
         (local.set $s (i32.xor (local.get $s) (i32.const 1025))))
       (local.set $s (i32.add (local.get $s) (call $inner (local.get $s))))
       (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $outer (i32.lt_u (local.get $n) (i32.const 40))))
     (local.get $s)`,
    `(tag $e) (func $inner (param $x i32) (result i32) (local $i i32)
       (block $out (try_table (catch_all $out)
         (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (if (i32.eq (local.get $i) (i32.and (local.get $x) (i32.const 31))) (then (return (local.get $i))))
           (if (i32.gt_u (local.get $i) (i32.const 20)) (then (throw $e)))
           (br $l))))
       (i32.const 77))`,
  ),
  // Values that go into blocks and loops and out of them.
  program(
    `(i32.const 5) (i32.const 1)
     (loop $l (param i32 i32) (result i32 i32) (call $step) (br_if $l (i32.wrap_i64 (global.get $more))))
     (block $b (param i32 i32) (result i32) (i32.add) (br_if $b (i32.const 1)) (i32.const 1) (i32.add))
     (if (param i32) (result i32) (global.get $flag) (then (i32.const 2) (i32.mul)) (else (i32.const 3) (i32.mul)))`,
    `(global $more (mut i64) (i64.const 9)) (global $flag i32 (i32.const 1))
     (func $step (param i32 i32) (result i32 i32) (global.set $more (i64.sub (global.get $more) (i64.const 1)))
       (i32.sub (local.get 0) (i32.const 1)) (i32.mul (local.get 1) (i32.add (local.get 0) (i32.const 7))))`,
  ),
  // Branches to the function's own label, from functions that are counted, with one result and with several.
  program(
    `(i32.add (call $one (i32.const 9)) (call $two (i32.const 9)))`,
    `(func $one (param i32) (result i32) (local.get 0) (br_if 0 (i32.eqz (local.get 0))) (drop)
       (i32.add (call $one (i32.sub (local.get 0) (i32.const 1))) (i32.const 2)))
     (func $three (param i32) (result i32 i64 f32)
       (block (i32.const 4) (i64.const 5) (f32.const 6) (br_table 1 1 (local.get 0)))
       (call $three (i32.const 1)))
     (func $two (param $n i32) (result i32)
       (block $z (br_if $z (i32.eqz (local.get $n))) (return (i32.add (call $two (i32.sub (local.get $n) (i32.const 1))) (i32.const 1))))
       (call $three (i32.const 0)) (drop) (drop))`,
  ),
  // Tail calls through a table, from functions that are counted.
  program(
    `(call $a (i32.const 30))`,
    `(type $t (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $a $b)
     (func $a (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 11))))
       (return_call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
     (func $b (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 12))))
       (i32.add (call $a (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))`,
  ),
  // Exceptions with references, thrown on.
  program(
    `(local $s i32) (local $x exnref)
     (block $h (result i32 exnref)
       (try_table (result i32 exnref) (catch_ref $e $h) (call $thrower (i32.const 4)) (unreachable)))
     (local.set $x) (local.set $s)
     (block $g (result i32) (try_table (result i32) (catch $e $g) (throw_ref (local.get $x))))
     (i32.add (local.get $s))`,
    `(tag $e (param i32))
     (func $thrower (param i32) (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 1000)))) (call $thrower (i32.sub (local.get 0) (i32.const 1))))`,
  ),
  // The older kind, delegated and rethrown.
  program(
    `(local $s i32)
     (try (do (try $outer (do (try (do (throw $f (i64.const 1) (i64.const 2))) (delegate $outer)))
         (catch $f (drop) (drop) (local.set $s (i32.const 5)) (rethrow $outer))))
       (catch_all (local.set $s (i32.add (local.get $s) (i32.const 40)))))
     (local.get $s)`,
    `(tag $f (param i64 i64))`,
  ),
  // Bulk work and growth inside of loops.
  program(
    `(local $i i32)
     (loop $l (memory.fill (local.get $i) (local.get $i) (i32.const 333)) (memory.copy (i32.const 5000) (local.get $i) (i32.const 77))
       (drop (memory.grow (i32.const 0))) (local.set $i (i32.add (local.get $i) (i32.const 101))) (br_if $l (i32.lt_u (local.get $i) (i32.const 4000))))
     (i32.load (i32.const 5010))`,
  ),
  // Everything about references that does not need types of functions.
  program(
    `(table.init $t $e (i32.const 1) (i32.const 0) (i32.const 2)) (table.copy $t $t (i32.const 3) (i32.const 1) (i32.const 2)) (elem.drop $e)
     (i32.add (ref.is_null (table.get $t (i32.const 0))) (i32.add (table.size $t)
       (i32.add (call_indirect $t (result i32) (i32.const 4))
         (ref.is_null (select (result funcref) (ref.null func) (table.get $t (i32.const 4)) (i32.const 1))))))`,
    `(table $t 6 9 funcref) (elem $e func $f $g) (func $f (result i32) (i32.const 100)) (func $g (result i32) (i32.const 200))`,
  ),
  // Atomics on memory that is not shared; constants that are sums.
  program(
    `(i32.add (i32.atomic.rmw.add (i32.const 8) (i32.const 3)) (i32.add (i32.atomic.rmw.cmpxchg (i32.const 8) (i32.const 3) (i32.const 9))
       (i32.add (memory.atomic.notify (i32.const 8) (i32.const 1)) (i32.add (global.get $sum) (i32.load (i32.const 8))))))`,
    `(global $base i32 (i32.const 7)) (global $sum i32 (i32.add (global.get $base) (i32.const 4)))`,
  ),
  // Vectors with two and three operands, lanes, shuffles, loads and stores of lanes, relaxed ones.
  program(
    `(local $v v128) (local $i i32)
     (loop $l
       (local.set $v (i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31
         (v128.bitselect (local.get $v) (i32x4.splat (local.get $i)) (v128.const i32x4 -1 0 0xff00ff -5)) (i16x8.mul (local.get $v) (i16x8.splat (i32.const 3)))))
       (v128.store32_lane 1 (i32.const 64) (local.get $v)) (local.set $v (v128.load8_lane 7 (i32.const 65) (local.get $v)))
       (local.set $v (i32x4.replace_lane 3 (i32x4.relaxed_laneselect (local.get $v) (v128.const i32x4 1 2 3 4) (v128.const i32x4 0 -1 0 -1)) (local.get $i)))
       (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 30))))
     (i32.add (i8x16.bitmask (local.get $v)) (i32x4.extract_lane 2 (local.get $v)))`,
  ),
  // Code behind branches that always jump.
  program(
    `(block $b (br $b) (drop (i32.add)) (loop $l (br $l)) (unreachable)) (return (i32.const 8)) (i32.const 1) (br_if 0) (i32.add)`,
  ),
];
