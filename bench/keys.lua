-- Plain calls of many customers: each request has the key of one of KEYS, drawn at random (see growth_data.py).
local keys, first = tonumber(os.getenv("KEYS")), tonumber(os.getenv("FIRST") or "1")
local body = '{"model":"plain-chat","max_tokens":64,"messages":[{"role":"user","content":"What is the capital of Italy?"}]}'
local head, tail
bad = 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init()
  bad = 0
  math.randomseed(tonumber(os.getenv("SEED") or "1"))
  head = "POST /v1/chat/completions HTTP/1.1\r\nhost: " .. wrk.host .. "\r\ncontent-type: application/json\r\n"
    .. "x-kaixu-install-id: bench-device\r\ncontent-length: " .. #body .. "\r\nauthorization: Bearer kx_live_"
  tail = "\r\n\r\n" .. body
end
function request() return head .. string.format("%043d", first - 1 + math.random(keys)) .. tail end
function response(status) if status ~= 200 then bad = bad + 1 end end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do failed = failed + thread:get("bad") end
  io.write(string.format("RESULT %.1f %.3f %.3f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
