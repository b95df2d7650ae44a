dofile(os.getenv("BENCH_LUA") .. "/common.lua")

local PROPS = '"props":{"level":12,"mode":"calm","seconds":341,"flowers":17,"place":"moss garden",'
  .. '"device":"phone","quality":"high","battery":81,"session_number":7,"music":"rain"}'

function request()
  local player = any_player()
  local now = os.date("!%Y-%m-%dT%H:%M:%SZ")
  local stamp = string.format("%012x", os.time() * 1000)
  local events = {}
  for i = 1, 100 do
    events[i] = string.format(
      '{"id":"%s-%s-7%s-8%s-%s","name":"level_complete","at":"%s",%s}',
      stamp:sub(1, 8), stamp:sub(9, 12), hex(3), hex(3), hex(12), now, PROPS)
  end
  return wrk.format("POST", "/v1/events",
    headers_of(player, { ["Content-Type"] = "application/json" }),
    '{"events":[' .. table.concat(events, ",") .. "]}")
end
