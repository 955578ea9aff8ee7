wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("KAIXU_KEY")
wrk.headers["x-kaixu-install-id"] = "bench-device"
local host = os.getenv("PORTKEY_HOST")
if host then
  wrk.headers["x-portkey-provider"] = "openai"
  wrk.headers["x-portkey-custom-host"] = host
end
local stream = os.getenv("STREAM") and '"stream":true,"stream_options":{"include_usage":true},' or ""
wrk.body = '{"model":"' .. os.getenv("MODEL") .. '",' .. stream
  .. '"max_tokens":64,"messages":[{"role":"user","content":"What is the capital of Italy?"}]}'
bad = 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() bad = 0 end
function response(status) if status ~= 200 then bad = bad + 1 end end
function done(summary, latency)
  local failed = 0
  for _, thread in ipairs(threads) do failed = failed + thread:get("bad") end
  io.write(string.format("RESULT %.1f %.3f %.3f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
