dofile(os.getenv("BENCH_LUA") .. "/common.lua")

local run, count = nil, 0
function prepare()
  run = hex(16)
end

function request()
  count = count + 1
  return wrk.format("POST", "/v1/sessions", {
    ["X-Game-Key"] = game_key,
    ["X-Forwarded-Proto"] = "https",
    ["Content-Type"] = "application/json",
  }, string.format(
    '{"method":"device","device_id":"%s-%d-%d","device_secret":"%s","create":true}',
    run, number, count, run .. run .. run))
end
