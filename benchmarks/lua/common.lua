-- What all scenarios share: the players, the headers, and the figures at the end.

local path = os.getenv("BENCH_PLAYERS")
players = {}
for line in io.lines(path) do
  local access, device, secret = line:match("^(%S+)\t(%S+)\t(%S+)$")
  players[#players + 1] = { bearer = "Bearer " .. access, device = device, secret = secret }
end
game_key = os.getenv("BENCH_GAME_KEY")

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  math.randomseed(os.time() * 100 + number)
  if prepare then prepare() end
end

-- Headers of a player's request, through a proxy that ended TLS.
function headers_of(player, more)
  local headers = { ["Authorization"] = player.bearer, ["X-Forwarded-Proto"] = "https" }
  for name, value in pairs(more or {}) do headers[name] = value end
  return headers
end

function any_player()
  return players[math.random(#players)]
end

local HEX = "0123456789abcdef"
function hex(length)
  local digits = {}
  for i = 1, length do
    local at = math.random(16)
    digits[i] = HEX:sub(at, at)
  end
  return table.concat(digits)
end

function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, '
      .. '"max_ms": %.3f, "errors": {"connect": %d, "read": %d, "write": %d, "status": %d, '
      .. '"timeout": %d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    e.connect, e.read, e.write, e.status, e.timeout))
end
