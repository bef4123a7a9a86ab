-- begin: mark an entry in flight, if this daemon may send it.
-- Returns 'begun', or why not: 'fenced' 'older' 'marked' 'gone' 'suppressed'.
local held = redis.pcall('GET', LEASE) == OWNER
local anybody_opted_out = redis.call('EXISTS', OPTOUTS) == 1
local older = is_older()
open_the_door()

local function run(request)
  local name, mark = request.name, request.mark
  need(INFLIGHT, OPTOUTS)
  local found = mark_of(name)
  if found == mark then return 'begun' end -- our own reply was lost
  if not held then return 'fenced' end
  if older then return 'older' end
  if found or marked[name] then return 'marked' end
  if not entry_of(stream_of(name)) then return 'gone' end
  if anybody_opted_out and redis.call('SISMEMBER', OPTOUTS, request.recipient) == 1 then return 'suppressed' end
  marked[name] = true
  append_all(marked, {name, mark})
  return 'begun'
end
