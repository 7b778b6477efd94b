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
];
