dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function request()
  local player = any_player()
  return wrk.format("POST", "/v1/sessions", {
    ["X-Game-Key"] = game_key,
    ["X-Forwarded-Proto"] = "https",
    ["Content-Type"] = "application/json",
  }, string.format('{"method":"device","device_id":"%s","device_secret":"%s"}',
    player.device, player.secret))
end
