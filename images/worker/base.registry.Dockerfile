# Node 24 and the production packages, for image source `registry`: npm runs in the build, so the laptop's own operating
# system and processor do not matter. Separate from ./Dockerfile: a change in workers/ rebuilds one thin layer only.
ARG PARENT
FROM ${PARENT}
RUN mkdir -p /var/log/muster/inbox/purchase /var/log/muster/inbox/promo_behavior /var/lib/muster/log-follower /var/lib/muster/banks /var/lib/muster/uploads /etc/muster \
 && chown -R node:node /var/log/muster /var/lib/muster
WORKDIR /app
COPY app/ /app/
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force
ENV NODE_ENV=production
