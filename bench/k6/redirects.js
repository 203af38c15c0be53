// Redirects at 1,000 to 10,000 requests a second, in stages: people follow links by Zipf's law, one in twenty asks for a
// slug that nobody has. Fails when an answer is wrong or the 95th percentile is 50 ms or more.
//
//     BOLTLINK_URL=http://127.0.0.1:8000 BOLTLINK_API_KEY=$(cat var/admin-key) k6 run bench/k6/redirects.js
//
// LINKS (1,000) are made first, in batches, and deleted afterwards.
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { agents, api, origin, pickByZipf } from './common.js';

const LINKS = Number(__ENV.LINKS || 1000);
const UNKNOWN_SHARE = 0.05;
const BATCH = 500;

const redirects = new Counter('redirects');

export const options = {
  discardResponseBodies: true,
  scenarios: {
    visitors: {
      executor: 'ramping-arrival-rate',
      startRate: 1000,
      timeUnit: '1s',
      preAllocatedVUs: 200,
      maxVUs: 1000,
      stages: [
        { target: 1000, duration: '30s' },
        { target: 2500, duration: '30s' },
        { target: 5000, duration: '30s' },
        { target: 10000, duration: '30s' },
        { target: 10000, duration: '60s' },
        { target: 1000, duration: '10s' },
      ],
    },
  },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    http_req_duration: ['p(95)<50'],
    dropped_iterations: ['count==0'],
  },
};

http.setResponseCallback(http.expectedStatuses({ min: 200, max: 204 }, 302, 404));

export function setup() {
  const slugs = [];
  for (let first = 0; first < LINKS; first += BATCH) {
    const links = [];
    for (let number = first; number < Math.min(first + BATCH, LINKS); number += 1) {
      links.push({ target: `https://example.com/${number}`, tags: ['k6'] });
    }
    const answer = api('POST', '/api/v1/links/batch', { links });
    for (const row of answer.results) {
      slugs.push(row.link.slug);
    }
  }
  return { slugs };
}

export default function visit(data) {
  const isKnown = Math.random() >= UNKNOWN_SHARE;
  const slug = isKnown ? pickByZipf(data.slugs) : `none${Math.random().toString(36).slice(2)}`;
  const answer = http.get(`${origin}/${slug}`, {
    redirects: 0,
    headers: { 'User-Agent': agents[Math.floor(Math.random() * agents.length)] },
    tags: { name: isKnown ? 'redirect' : 'unknown slug' },
  });
  check(answer, { 'the right status': (got) => got.status === (isKnown ? 302 : 404) });
  if (answer.status === 302) {
    redirects.add(1);
  }
}

export function teardown(data) {
  for (const slug of data.slugs) {
    api('DELETE', `/api/v1/links/${slug}`);
  }
}
