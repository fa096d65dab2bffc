# Node 24 and the production packages, for image source `build`: both come from npm, installed on the host.
# Separate from ./Dockerfile so that a change in workers/ rebuilds one thin layer only.
ARG PARENT
FROM ${PARENT}
RUN useradd --uid 1000 --user-group --create-home --shell /bin/sh node \
 && mkdir -p /var/log/muster/inbox/purchase /var/log/muster/inbox/promo_behavior /var/lib/muster/log-follower /var/lib/muster/banks /var/lib/muster/uploads /etc/muster \
 && chown -R node:node /var/log/muster /var/lib/muster
COPY node /usr/local/bin/node
WORKDIR /app
COPY app/ /app/
ENV NODE_ENV=production
