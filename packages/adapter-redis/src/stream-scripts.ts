import { script } from "./redis-client.ts";

// Everything of a source stands in one hash tag, so all of it can be in one script. KEYS[1] is `<prefix>bus:{<source>}`:
//   <base>                         hash: how many partitions there are; also the name of the channel
//   <base>:<p>                     stream of a partition: `e` is the event as JSON
//   <base>:group:<group>           hash: `m:<member>` until when it is alive, `o:<p>` whose a partition is (member#epoch, with a ! when
//                                  whoever had it died), `c:<p>` it was given back idle, `settled` since when free ones go out
//   <base>:group:<group>:dead:<p>  stream of dead letters; …:parked:<p> hash: subject → how many of it are there
//   <base>:group:<group>:tries:<p> hash: entry → how often it was tried, of those that have failed
//   <base>:group:<group>:wishes    hash: subject → what is to be done with its dead letters
// Each partition has one reader per group, so a group has one consumer in Redis' sense, and what a member that died
// had not finished is that consumer's history: nobody waits for entries to become idle.
export const CONSUMER = "owner";

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

const PARTITIONS = `
local known = redis.call('HGET', KEYS[1], 'partitions')
if not known then
  redis.call('HSET', KEYS[1], 'partitions', ARGV[1])
elseif known ~= ARGV[1] then
  return tonumber(known)
end
`;

/** ARGV: partitions, then partition and event of each. All of them or none. Gives 0, or the other number of partitions. */
export const PUBLISH = script(`${PARTITIONS}
local touched, list = {}, {}
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1] .. ':' .. ARGV[i], '*', 'e', ARGV[i + 1])
  if not touched[ARGV[i]] then
    touched[ARGV[i]] = true
    list[#list + 1] = ARGV[i]
  end
end
redis.call('PUBLISH', KEYS[1], table.concat(list, ','))
return 0`);

// What every group has finished goes: below the first entry that some group has pending, or else has not been given.
// A stream that no group reads keeps what is younger than `retain`.
const TRIM = `
local function parts(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function trim(stream, now, retain)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return end
  local ms, seq
  for _, group in ipairs(groups) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    local gms, gseq
    if info.pending > 0 then
      gms, gseq = parts(redis.call('XPENDING', stream, info.name)[2])
    else
      gms, gseq = parts(info['last-delivered-id'])
      gseq = gseq + 1
    end
    if not ms or gms < ms or (gms == ms and gseq < seq) then ms, seq = gms, gseq end
  end
  if not ms then ms, seq = now - retain, 0 end
  redis.call('XTRIM', stream, 'MINID', string.format('%.0f-%.0f', ms, seq))
end
`;

/** ARGV: partitions, retain. */
export const TEND = script(`${NOW}${TRIM}
for p = 0, tonumber(ARGV[1]) - 1 do trim(KEYS[1] .. ':' .. p, now, tonumber(ARGV[2])) end
return 0`);

/**
 * A member says that it is alive, and learns which partitions are its own. ARGV: partitions, group, member, for how
 * long (ms), retain, whether it has been a member before, then the partitions and tokens that are surely its own. Gives
 * the other number of partitions, or how many it should give back, partitions and tokens, the wishes, and 1 when the
 * group has forgotten the member.
 *
 * When a member comes back to a group that is not there any more, Redis was flushed, and there may be other members who
 * work on what they had: they get it back, and nobody gets anything else until all of them must have stopped.
 */
export const SYNC = script(`${PARTITIONS}${NOW}${TRIM}
local count, group, me, alive = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = KEYS[1] .. ':group:' .. group
if not redis.call('HGET', key, 'epoch') then
  for p = 0, count - 1 do
    local made = redis.pcall('XGROUP', 'CREATE', KEYS[1] .. ':' .. p, group, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
  end
  -- No token is ever given out twice, not even after a flush.
  redis.call('HSET', key, 'epoch', string.format('%.0f', now))
  if ARGV[6] == '1' then redis.call('HSET', key, 'settled', string.format('%.0f', now + alive)) end
end
local settled = now >= tonumber(redis.call('HGET', key, 'settled') or '0')
if settled then
  redis.call('HDEL', key, 'settled')
else
  for i = 7, #ARGV, 2 do redis.call('HSETNX', key, 'o:' .. ARGV[i], ARGV[i + 1]) end
end
local joined = redis.call('HSET', key, 'm:' .. me, string.format('%.0f', now + alive))
local fields, members, living = redis.call('HGETALL', key), 0, {}
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'm:' then
    if tonumber(fields[i + 1]) > now then
      members = members + 1
      living[string.sub(fields[i], 3)] = true
    else
      redis.call('HDEL', key, fields[i])
    end
  end
end
local owner = {}
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'o:' and living[string.match(fields[i + 1], '^[^#]+')] then
    owner[string.sub(fields[i], 3)] = fields[i + 1]
  end
end
local fair, mine, own = math.ceil(count / members), 0, {}
for p = 0, count - 1 do
  local token = owner[tostring(p)]
  if token and string.match(token, '^[^#]+') == me then
    mine = mine + 1
    own[#own + 1] = p
    own[#own + 1] = token
  end
end
for p = 0, count - 1 do
  if settled and mine < fair and not owner[tostring(p)] then
    local token = me .. '#' .. redis.call('HINCRBY', key, 'epoch', 1)
    if redis.call('HDEL', key, 'c:' .. p) == 0 then token = token .. '!' end
    redis.call('HSET', key, 'o:' .. p, token)
    mine = mine + 1
    own[#own + 1] = p
    own[#own + 1] = token
  end
end
for i = 1, #own, 2 do trim(KEYS[1] .. ':' .. own[i], now, tonumber(ARGV[5])) end
if joined == 1 and members > 1 then redis.call('PUBLISH', KEYS[1], 'sync ' .. group) end
return {math.max(0, mine - fair), own, redis.call('HGETALL', key .. ':wishes'), joined == 1 and ARGV[6] == '1' and 1 or 0}`);

const OWNED = `
local key = KEYS[1] .. ':group:' .. ARGV[1]
local function owned(p, token) return redis.call('HGET', key, 'o:' .. p) == token end
`;

/**
 * Takes note of what is finished, and gives what comes next. ARGV: group, most bytes, then for each partition: it, its
 * token, from where (`>`, or behind which entry of the history), how many, how many are finished, and which. Gives for
 * each partition false when it is not the caller's any more, or entries and their events, and of a history that is
 * begun the subjects that are parked.
 */
export const TURN = script(`${OWNED}
local result, room, at = {}, tonumber(ARGV[2]), 3
while at <= #ARGV do
  local p, token, from, count, finished = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local begun = from == '0'
  at = at + 5
  if not owned(p, token) then
    at = at + finished
    result[#result + 1] = false
  else
    local stream, tries = KEYS[1] .. ':' .. p, key .. ':tries:' .. p
    local tried = finished > 0 and redis.call('EXISTS', tries) == 1
    for i = at, at + finished - 1 do
      redis.call('XACK', stream, ARGV[1], ARGV[i])
      if tried then redis.call('HDEL', tries, ARGV[i]) end
    end
    at = at + finished
    local entries = {}
    while count > 0 and room > 0 do
      local step = math.min(count, 50)
      local function read()
        return redis.pcall('XREADGROUP', 'GROUP', ARGV[1], '${CONSUMER}', 'COUNT', step, 'STREAMS', stream, from)
      end
      local given = read()
      if given and given.err and string.find(given.err, 'NOGROUP') then
        redis.call('XGROUP', 'CREATE', stream, ARGV[1], '0', 'MKSTREAM')
        given = read()
      end
      if given and given.err then return given end
      local list = given and given[1][2] or {}
      for _, entry in ipairs(list) do
        local event = entry[2] and entry[2][2] or ''
        entries[#entries + 1] = entry[1]
        entries[#entries + 1] = event
        room = room - #event
        if from ~= '>' then from = entry[1] end
      end
      count = count - #list
      if #list < step then break end
    end
    local parked = begun and redis.call('HKEYS', key .. ':parked:' .. p) or {}
    result[#result + 1] = {entries, parked}
  end
end
return result`);

/** ARGV: group, partition, token, entry. How often the entry has been tried, this time counted; -1: not the caller's. */
export const COUNT_TRY = script(`${OWNED}
if not owned(ARGV[2], ARGV[3]) then return -1 end
return redis.call('HINCRBY', key .. ':tries:' .. ARGV[2], ARGV[4], 1)`);

/** Takes note of one entry that is finished. ARGV: group, partition, token, entry. 0: not the caller's. */
export const FINISH = script(`${OWNED}
if not owned(ARGV[2], ARGV[3]) then return 0 end
redis.call('HDEL', key .. ':tries:' .. ARGV[2], ARGV[4])
redis.call('XACK', KEYS[1] .. ':' .. ARGV[2], ARGV[1], ARGV[4])
return 1`);

/**
 * Moves an entry to the dead letters. ARGV: group, partition, token, entry, subject (or nothing), event, reason, how
 * often it was tried, when. 0: not the caller's.
 */
export const PARK = script(`${OWNED}
local p, id, lane = ARGV[2], ARGV[4], ARGV[5]
if not owned(p, ARGV[3]) then return 0 end
local stream, dead = KEYS[1] .. ':' .. p, key .. ':dead:' .. p
local open = redis.call('XACK', stream, ARGV[1], id) == 1
if not open and #redis.call('XRANGE', stream, id, id) == 0 then
  -- Redis has forgotten it, or this was done before and the answer was lost.
  open = true
  for _, letter in ipairs(redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 100)) do
    for i = 1, #letter[2], 2 do
      if letter[2][i] == 'i' and letter[2][i + 1] == id then open = false end
    end
  end
end
if open then
  redis.call('XADD', dead, '*', 'e', ARGV[6], 'l', lane, 'r', ARGV[7], 'a', ARGV[8], 't', ARGV[9], 'i', id)
  if lane ~= '' then redis.call('HINCRBY', key .. ':parked:' .. p, lane, 1) end
end
redis.call('HDEL', key .. ':tries:' .. p, id)
return 1`);

/**
 * Takes a dead letter away. ARGV: group, partition, token, dead letter, subject. Gives how many of the subject are left:
 * with none the subject is parked no longer. -1: not the caller's.
 */
export const SETTLE = script(`${OWNED}
local p, lane = ARGV[2], ARGV[5]
if not owned(p, ARGV[3]) then return -1 end
local parked, left = key .. ':parked:' .. p, 0
if redis.call('XDEL', key .. ':dead:' .. p, ARGV[4]) == 1 then
  left = redis.call('HINCRBY', parked, lane, -1)
else
  left = tonumber(redis.call('HGET', parked, lane) or '0')
end
if left <= 0 then
  redis.call('HDEL', parked, lane)
  redis.call('HDEL', key .. ':wishes', lane)
  return 0
end
return left`);

/** ARGV: group, member, then partitions and tokens to give back; with none of them the member leaves. */
export const GIVE_BACK = script(`${OWNED}
for i = 3, #ARGV, 2 do
  if owned(ARGV[i], ARGV[i + 1]) then
    redis.call('HDEL', key, 'o:' .. ARGV[i])
    redis.call('HSET', key, 'c:' .. ARGV[i], '')
  end
end
if #ARGV == 2 then
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if fields[i] == 'm:' .. ARGV[2] then redis.call('HDEL', key, fields[i]) end
    if string.sub(fields[i], 1, 2) == 'o:' and string.match(fields[i + 1], '^[^#]+') == ARGV[2] then
      redis.call('HDEL', key, fields[i])
      redis.call('HSET', key, 'c:' .. string.sub(fields[i], 3), '')
    end
  end
end
redis.call('PUBLISH', KEYS[1], 'sync ' .. ARGV[1])
return 0`);

/** ARGV: group, subject, and from its owner, when none of its dead letters is left, partition and token. */
export const DROP_WISH = script(`${OWNED}
redis.call('HDEL', key .. ':wishes', ARGV[2])
if ARGV[3] and owned(ARGV[3], ARGV[4]) then redis.call('HDEL', key .. ':parked:' .. ARGV[3], ARGV[2]) end
return 0`);

/** ARGV: group, partition, subject, what is to be done. 1 when the subject is parked. */
export const WISH = script(`
local key = KEYS[1] .. ':group:' .. ARGV[1]
if redis.call('HEXISTS', key .. ':parked:' .. ARGV[2], ARGV[3]) == 0 then return 0 end
redis.call('HSET', key .. ':wishes', ARGV[3], ARGV[4])
redis.call('PUBLISH', KEYS[1], 'sync ' .. ARGV[1])
return 1`);

/** Forgets a group for good. ARGV: partitions, group. */
export const FORGET_GROUP = script(`
local key = KEYS[1] .. ':group:' .. ARGV[2]
for p = 0, tonumber(ARGV[1]) - 1 do
  redis.pcall('XGROUP', 'DESTROY', KEYS[1] .. ':' .. p, ARGV[2])
  redis.call('UNLINK', key .. ':dead:' .. p, key .. ':parked:' .. p, key .. ':tries:' .. p)
end
redis.call('UNLINK', key, key .. ':wishes')
return 0`);
