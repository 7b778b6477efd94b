-- Counts the answers that are not as they should be. (wrk itself ends by time, not by count.)
bad = 0
local threads = {}

function setup(thread) table.insert(threads, thread) end

function response(status, headers)
  if status ~= 200 or headers["x-evangelist"] ~= "hello from wasm" then bad = bad + 1 end
end

function done(summary, latency, requests)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("bad") end
  io.write(string.format("wrong answers: %d\n", wrong))
end
