-- begin: write the in-flight record of an entry, if this daemon may send it.
-- include: campaign, damage, entries, fields, full, identity, in_flight
-- takes: name, mark, recipient, campaign?
-- keys: none
-- answers: begun | fenced | older | marked | gone | paused | cancelled | suppressed
-- changes: inflight
--
-- 'fenced' while this daemon does not hold the lease, 'older' where newer data was known, 'marked' where an attempt is
-- under way already, 'gone' where it is settled, 'suppressed' where the recipient has opted out; 'paused' and 'cancelled'
-- where its campaign is.

local begun = {} -- by name, and as a flat list of name and mark
local lease_is_ours = redis.pcall('GET', LEASE) == OWNER
local anybody_opted_out = redis.call('EXISTS', OPTOUTS) == 1
local data_is_older = is_older()
allow_writes_while_full()

local function state_of(campaign)
  local found = campaign_named(campaign)
  return found and found.state
end

local function run(request)
  local name, mark = request.name, request.mark
  need(INFLIGHT, OPTOUTS)
  local found = mark_of(name)
  if found == mark then return 'begun' end -- our own reply was lost
  if not lease_is_ours then return 'fenced' end
  if data_is_older then return 'older' end
  if found or begun[name] then return 'marked' end
  if not entry_of(stream_of(name)) then return 'gone' end
  local state = request.campaign and state_of(request.campaign)
  if state == 'paused' or state == 'cancelled' then return state end
  if anybody_opted_out and redis.call('SISMEMBER', OPTOUTS, request.recipient) == 1 then return 'suppressed' end
  begun[name] = true
  append_all(begun, {name, mark})
  return 'begun'
end

at_end[#at_end + 1] = function()
  if #begun > 0 then redis.call('HSET', INFLIGHT, unpack(begun)) end
end
