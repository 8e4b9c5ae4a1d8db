/* outcome */
#include "relaypool.h"
