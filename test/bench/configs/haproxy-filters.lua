-- The jobs of local_ratelimit, fault and evangelist: one bucket for the process, which has one thread.
local MESSAGE = "hello from wasm"
local MAX_TOKENS = 1000000000
local TOKENS_PER_FILL = 1000000000
local FILL_INTERVAL_S = 1
local tokens = MAX_TOKENS
local filled = 0

local function take()
  local now = core.now()
  local seconds = now.sec + now.usec / 1000000
  local fills = math.floor((seconds - filled) / FILL_INTERVAL_S)
  if fills > 0 then
    tokens = math.min(MAX_TOKENS, tokens + fills * TOKENS_PER_FILL)
    filled = seconds
  end
  if tokens < 1 then return false end
  tokens = tokens - 1
  return true
end

core.register_action("down", { "http-req" }, function(txn)
  if not take() then
    txn:set_var("txn.limited", true)
    return
  end
  local wanted = txn.sf:req_hdr("x-envoy-fault-abort-request")
  if wanted ~= nil and wanted ~= "" then
    local status = tonumber(wanted)
    if status ~= nil and status >= 200 and status < 600 then
      txn:set_var("txn.fault", wanted)
      return
    end
  end
  txn.http:req_set_header("x-evangelist", MESSAGE)
end, 0)

core.register_action("up", { "http-res" }, function(txn)
  txn.http:res_set_header("x-evangelist", MESSAGE)
end, 0)
