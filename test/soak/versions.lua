-- Counts answers that do not carry exactly one version: the one that the request had. (wrk itself ends by time.)
bad = 0
local threads = {}

function setup(thread) table.insert(threads, thread) end

function response(status, headers)
  local version = headers["x-version"]
  if status ~= 200 or version == nil or not version:match("^%d%d%d%d$") or version ~= headers["x-seen"] then bad = bad + 1 end
end

function done(summary, latency, requests)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("bad") end
  io.write(string.format("wrong answers: %d\n", wrong))
end
