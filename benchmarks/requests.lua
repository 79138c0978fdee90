-- For wrk. GET: a file of paths, asked in turn. POST: batches of so many events, each with a key of
-- its own. Prints what was counted as a JSON object.
--
--   wrk … -s requests.lua URL -- PATHS
--   wrk … -s requests.lua URL -- PATHS EVENTS RUN
local threads, requests, at = 0, {}, 0
local body, sent

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local function event(place)
  local page = math.floor(place / 25)  -- its events have the query and the person in common
  return string.format(
    '{"request_id":"%s-%d","query":"image-%d","candidate":"image-%d","action":"impression",' ..
    '"position":"%d","device":"phone","user_id":"u%d","arm":"ranker:b"}',
    run, page, page * 7, place * 11, place % 25, page)
end

function init(args)
  if args[2] then
    run, sent = args[3], 0
    local events = {}
    for place = 1, tonumber(args[2]) do events[place] = event(place) end
    body = '{"events":[' .. table.concat(events, ",") .. "]}"
  else
    for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
  end
end

function request()
  if body then
    sent = sent + 1
    local key = string.format("%s-%d-%d", run, number, sent)
    local headers = { ["Content-Type"] = "application/json", ["Idempotency-Key"] = key }
    return wrk.format("POST", "/v1/events", headers, body)
  end
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "failed": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
