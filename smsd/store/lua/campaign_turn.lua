-- campaign_turn: bring a campaign into another state, as a person asked for.
-- include: damage, events, full, rest, verbs
-- takes: campaign, turn, state, from, reason, by, expect?
-- keys: campaign, campaigns_active
-- answers: absent | changed | same | again | {'wrong', its state} | {'count', how many recipients are not settled}
-- changes: campaign, campaigns_active, events
--
-- `from`: the states in which it may be. Where it is in that state already, the reason stays that of the first who asked.
-- `turn`: how many of these there were before; 'again' where there were others since, so that one which was lost on its
-- way, and repeated, does nothing when it arrives at last. (Older data lacks some, and has fewer.) Cancelled, recipients
-- without a message are so at once; the daemon sees to the others.

local OPEN = {'unexpanded', 'queued', 'held', 'deferred'}

local function run(request, keys)
  local campaign, active = unpack(keys)
  need_hash(campaign)
  need_type(active, 'set')
  local state, turn = unpack(redis.call('HMGET', campaign, 'state', 'turn'))
  if not state then return 'absent' end
  local before = tonumber(request.turn) or 0
  if (tonumber(turn) or 0) > before then return 'again' end
  if state == request.state then return 'same' end
  if not is_among(state, request.from) then return {'wrong', state} end
  local many = count_in(campaign, OPEN)
  if request.expect and request.expect ~= many then return {'count', many} end
  allow_writes_while_full()
  redis.call('HSET', campaign, 'state', request.state, 'reason', request.reason, 'by', request.by, 'since', NOW)
  redis.call('HSET', campaign, 'turn', before + 1)
  if request.state == 'cancelled' then settle_rest(campaign, 'cancelled') end
  redis.call('SADD', active, request.campaign)
  announce_act(request.campaign, request.state, request.reason, request.by)
  return 'changed'
end
